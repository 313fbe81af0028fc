#pragma once
#include <cstdint>

#include "model/view.h"
#include "space/cost.h"

namespace moebius {

// What this machine can do at most, all threads together, measured now (about a second each).

// FLOP/s of products of registers in f32 or bf16 (with f32 sums) on the back-end `cpu`; BF16 where
// the machine has no instruction for it is F32's.
double peak_flops(Dtype operand, int threads);
// What multiplies bf16 here: "AMX", "AVX512-BF16", or "emulated".
const char* bf16_unit_name();
// Bytes per second of a = b + s c over arrays far larger than the caches, stored past them
// (STREAM's triad, 12 bytes counted for each element).
double memory_bandwidth(int threads);

// What a step would take at the limits of the machine: products at the peak of their precision,
// then everything that has to pass through memory once at its bandwidth.
struct Roofline {
  double flops = 0, bytes = 0;  // per second

  // `state`: bytes that the optimizer keeps, which are read and written.
  double step_seconds(const Cost& cost, std::int64_t state) const {
    const double optimizer = cost.update_bytes + 2 * static_cast<double>(state);
    return cost.step_flops / flops + (optimizer + cost.pass_bytes) / bytes;
  }
};
inline Roofline measure_roofline(Dtype operand, int threads) {
  return {peak_flops(operand, threads), memory_bandwidth(threads)};
}

}  // namespace moebius
