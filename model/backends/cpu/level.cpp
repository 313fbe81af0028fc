#include "model/backends/cpu/level.h"

#include <atomic>
#include <cstdlib>

#include "model/backends/cpu/processor.h"
#include "model/instruction_level.h"
#include "space/base/check.h"
#include "space/base/text.h"

namespace moebius {
namespace cpu {
namespace {

constexpr char kVariable[] = "MOEBIUS_LEVEL";
constexpr std::array kLevels = {Level::Baseline, Level::Sse4,       Level::Avx2,
                                Level::Avx512,   Level::Avx512Bf16, Level::Amx};

std::atomic<Level> most_allowed = kLevels.back();

std::string requested() {
  const char* const value = std::getenv(kVariable);
  return value == nullptr ? "" : value;
}

Level chosen_level() {
  const std::string wanted = requested();
  if (wanted.empty()) return offered_level();
  for (const Level level : kLevels)
    if (level <= offered_level() && wanted == name_of(level)) return level;
  bad_input(kVariable, "this machine offers no such instruction level",
            join(offered_instruction_levels(), ", "), wanted);
}

}  // namespace

const char* name_of(Level level) {
  static const std::array names = {kBaselineName, "sse4", "avx2", "avx512", "avx512-bf16", "amx"};
  static_assert(names.size() == kLevels.size());
  return names[static_cast<std::size_t>(level)];
}

Level level() {
  static const Level chosen = chosen_level();
  return std::min(chosen, most_allowed.load(std::memory_order_relaxed));
}

void limit_level(Level most) { most_allowed = most; }

}  // namespace cpu

std::string instruction_level() { return cpu::name_of(cpu::level()); }

bool instruction_level_is_requested() { return !cpu::requested().empty(); }

std::vector<std::string> offered_instruction_levels() {
  std::vector<std::string> names;
  for (const cpu::Level level : cpu::kLevels)
    if (level <= cpu::offered_level()) names.emplace_back(cpu::name_of(level));
  return names;
}

}  // namespace moebius
