#pragma once
#include <cstdint>

#include "model/view.h"

namespace moebius {

// What this machine can do at most, all threads together, measured now (about a second each).

// FLOP/s of products of registers in f32 or bf16 (with f32 sums) on the back-end `cpu`; BF16 where
// the machine has no instruction for it is F32's.
double peak_flops(Dtype operand, int threads);
// Bytes per second of a = b + s c over arrays far larger than the caches, stored past them
// (STREAM's triad, 12 bytes counted for each element).
double memory_bandwidth(int threads);

}  // namespace moebius
