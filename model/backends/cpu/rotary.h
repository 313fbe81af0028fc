#pragma once
#include <cstdint>
#include <vector>

namespace moebius::cpu {

// Factors of a rotary embedding by position, spread over the pairs: y = x * cosine + swap(x) *
// sine, where swap exchanges the two of a pair and `sine` carries the sign. Both [S, K].
struct RotaryTable {
  std::int64_t seq = 0, head_dim = 0;
  double base = 0;
  std::vector<float> cosine, sine;
};

}  // namespace moebius::cpu
