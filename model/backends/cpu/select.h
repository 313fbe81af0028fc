#pragma once
#include <bit>
#include <cmath>
#include <cstdint>
#include <span>

namespace moebius::cpu {

// An integer that orders as its score. NaN counts as -1, less than any probability.
inline std::int32_t order_key(float score) {
  const auto bits = std::bit_cast<std::int32_t>(std::isnan(score) ? -1.0f : score + 0.0f);
  return bits >= 0 ? bits : bits ^ 0x7fffffff;
}

// Fills `best`, at most as long as `keys`, with the indices of the largest keys, in rising order;
// of equal ones the first.
void take_best(std::span<const std::int32_t> keys, std::span<std::int32_t> best);

}  // namespace moebius::cpu
