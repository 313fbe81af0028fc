#pragma once
#include <cstdint>

#include "model/view.h"

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

}  // namespace moebius
