#include "model/backends/cpu/select.h"

#include <limits>

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "model/backends/cpu/select.cpp"
#include "model/backends/cpu/foreach_level.h"  // includes this file once per instruction level

HWY_BEFORE_NAMESPACE();
namespace moebius::cpu::N_LEVEL {
namespace hn = hwy::HWY_NAMESPACE;

// How many of n keys are above `bar`.
std::int64_t count_above(const std::int32_t* keys, std::int64_t n, std::int32_t bar) {
  const hn::ScalableTag<std::int32_t> d;
  const auto lanes = static_cast<std::int64_t>(hn::Lanes(d));
  const auto bars = hn::Set(d, bar);
  auto count = hn::Zero(d);  // a true lane of a mask is -1
  std::int64_t i = 0;
  for (; i + lanes <= n; i += lanes)
    count = hn::Sub(count, hn::VecFromMask(d, hn::Gt(hn::LoadU(d, keys + i), bars)));
  std::int64_t total = hn::GetLane(hn::SumOfLanes(d, count));
  for (; i < n; ++i) total += keys[i] > bar ? 1 : 0;
  return total;
}

}  // namespace moebius::cpu::N_LEVEL
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace moebius::cpu {

MOEBIUS_EXPORT(count_above);

void take_best(std::span<const std::int32_t> keys, std::span<std::int32_t> best) {
  if (best.empty()) return;
  const auto kernel = MOEBIUS_DISPATCH(count_above);
  const auto count = [&](std::int64_t bar) {
    return kernel(keys.data(), std::ssize(keys), static_cast<std::int32_t>(bar));
  };
  // Bisection of the key values. Invariant: at least `wanted` keys are above `low`, fewer are above
  // `high`. It ends early where exactly `wanted` keys are above `middle`.
  const std::int64_t wanted = std::ssize(best);
  std::int64_t low = std::numeric_limits<std::int32_t>::min(), high = -(low + 1);
  for (std::int64_t above = 0; high - low > 1 && above != wanted;) {
    const std::int64_t middle = low + (high - low) / 2;
    above = count(middle);
    (above >= wanted ? low : high) = middle;
  }
  std::int64_t least = low + 1, ties = wanted - count(least);  // taken of those that equal `least`
  std::size_t next = 0;
  for (std::size_t i = 0; next < best.size(); ++i) {
    if (keys[i] < least || (keys[i] == least && ties == 0)) continue;
    ties -= keys[i] == least ? 1 : 0;
    best[next++] = static_cast<std::int32_t>(i);
  }
}

}  // namespace moebius::cpu
#endif  // HWY_ONCE
