#pragma once
#include <cstdint>
#include <string>

namespace moebius {

// How much training a candidate gets. Becomes a number of steps before step 1; no clock is read
// inside the loop (DESIGN 4).
struct Budget {
  enum class Unit { Steps, Tokens, Flops, Cpu, Wall, Virtual } unit = Unit::Steps;
  double amount = 0;    // steps, tokens, FLOPs or seconds
  std::string profile;  // Virtual: the device
  bool timed() const { return unit == Unit::Cpu || unit == Unit::Wall; }
  bool operator==(const Budget&) const = default;
};

// "500steps", "300ktok", "2e12flop", "20s" (= "20s:cpu"), "20s:wall", "20s:virtual@h200".
// Error(BadInput) naming the option.
Budget parse_budget(const std::string& text);
std::string to_string(const Budget& budget);

// The cost of one optimizer step of a candidate. Fields that the budget's unit does not need may be
// 0.
struct StepCost {
  std::int64_t tokens = 0;  // T
  double flops = 0;         // static
  double seconds = 0;       // CPU or wall, by the budget
};
// Whole steps that the budget pays for: at least one, with a timed budget at least 20.
std::int64_t steps_of(const Budget& budget, const StepCost& step);

}  // namespace moebius
