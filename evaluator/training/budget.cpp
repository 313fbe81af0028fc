#include "evaluator/training/budget.h"

#include <algorithm>
#include <array>
#include <cmath>

#include "space/base/check.h"
#include "space/base/units.h"

namespace moebius {
namespace {

constexpr const char* kOption = "--budget";
constexpr const char* kAllowed = "500steps, 300ktok, 2e12flop, 20s, 20s:wall";
constexpr std::int64_t kLeastTimedSteps = 20;

struct UnitText {
  std::string_view suffix;
  Budget::Unit unit;
  double high;  // largest amount
};
// Longer suffixes first: "500steps" ends with "s" too.
constexpr std::array<UnitText, 6> kUnits = {{{"steps", Budget::Unit::Steps, 1e9},
                                             {"tok", Budget::Unit::Tokens, 1e15},
                                             {"flop", Budget::Unit::Flops, 1e27},
                                             {"s:cpu", Budget::Unit::Cpu, 1e8},
                                             {"s:wall", Budget::Unit::Wall, 1e8},
                                             {"s", Budget::Unit::Cpu, 1e8}}};

// 300000 -> "300k", 1500000 -> "1.5M": the shortest that reads back.
std::string amount_text(double amount) {
  std::string best = shortest(amount);
  for (const auto& [factor, letter] : {std::pair{1e3, 'k'}, std::pair{1e6, 'M'}}) {
    const std::string scaled = shortest(amount / factor) + letter;
    double back = 0;
    if (amount >= factor && scaled.size() < best.size() && parse_count(scaled, back) &&
        back == amount)
      best = scaled;
  }
  return best;
}

// 2e12 -> "2e12".
std::string scientific_text(double amount) {
  const double exponent = std::floor(std::log10(amount));
  const std::string text = shortest(amount / std::pow(10, exponent)) + "e" + shortest(exponent);
  double back = 0;
  return parse_count(text, back) && back == amount ? text : shortest(amount);
}

[[noreturn]] void reject_virtual(const std::string& text) {
  bad_input(kOption,
            "virtual seconds need a device profile that predicts step times; there is only "
            "cpu-local, which measures them",
            kAllowed, text);
}

}  // namespace

Budget parse_budget(const std::string& text) {
  if (text.find("s:virtual") != std::string::npos) reject_virtual(text);
  for (const UnitText& unit : kUnits) {
    if (!std::string_view(text).ends_with(unit.suffix)) continue;
    Budget budget{unit.unit, 0, ""};
    const std::string number = text.substr(0, text.size() - unit.suffix.size());
    if (!parse_count(number, budget.amount) || !std::isfinite(budget.amount))
      bad_input(kOption, "not a number before '" + std::string(unit.suffix) + "'", kAllowed, text);
    if (budget.amount <= 0 || budget.amount > unit.high)
      bad_input(kOption, "out of range", "above 0, at most " + amount_text(unit.high), text);
    const bool whole = unit.unit == Budget::Unit::Steps || unit.unit == Budget::Unit::Tokens;
    if (whole && budget.amount != std::floor(budget.amount))
      bad_input(kOption, "not a whole number of " + std::string(unit.suffix), kAllowed, text);
    return budget;
  }
  bad_input(kOption, "unknown unit", kAllowed, text);
}

std::string to_string(const Budget& budget) {
  const std::string amount = amount_text(budget.amount);
  switch (budget.unit) {
    case Budget::Unit::Steps:
      return amount + "steps";
    case Budget::Unit::Tokens:
      return amount + "tok";
    case Budget::Unit::Flops:
      return scientific_text(budget.amount) + "flop";
    case Budget::Unit::Cpu:
      return amount + "s";
    case Budget::Unit::Wall:
      return amount + "s:wall";
    case Budget::Unit::Virtual:
      return amount + "s:virtual@" + budget.profile;
  }
  return amount;
}

std::int64_t steps_of(const Budget& budget, const StepCost& step) {
  double each = 1;
  std::int64_t least = 1;
  switch (budget.unit) {
    case Budget::Unit::Steps:
      break;
    case Budget::Unit::Tokens:
      each = static_cast<double>(step.tokens);
      break;
    case Budget::Unit::Flops:
      each = step.flops;
      break;
    case Budget::Unit::Cpu:
    case Budget::Unit::Wall:
    case Budget::Unit::Virtual:
      each = step.seconds;
      least = kLeastTimedSteps;
      break;
  }
  MOEBIUS_CHECK(each > 0, "[budget] a step costs {} in {}", each, to_string(budget));
  const double steps = std::floor(std::min(budget.amount / each, 1e12));
  return std::max(least, static_cast<std::int64_t>(steps));
}

}  // namespace moebius
