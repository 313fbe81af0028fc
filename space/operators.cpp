#include "space/operators.h"

#include <array>
#include <utility>

#include "space/base/check.h"

namespace moebius {
namespace {

constexpr std::array<std::pair<Operator, const char*>, 9> kOperators = {{
    {Operator::None, ""},
    {Operator::Random, "random"},
    {Operator::Enqueued, "enqueued"},
    {Operator::Nudge, "nudge"},
    {Operator::Resample, "resample"},
    {Operator::Retype, "retype"},
    {Operator::Move, "move"},
    {Operator::Swap, "swap"},
    {Operator::Crossover, "crossover"},
}};

}  // namespace

std::string operator_text(Operator op) {
  for (const auto& [value, text] : kOperators)
    if (value == op) return text;
  throw Error(Exit::Bug, "[operators] an operator without a name");
}

bool parse_operator(const std::string& text, Operator& op) {
  for (const auto& [value, name] : kOperators)
    if (text == name) {
      op = value;
      return true;
    }
  return false;
}

}  // namespace moebius
