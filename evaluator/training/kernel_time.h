#pragma once
#include <cstdint>

#include "model/backend.h"

namespace moebius {

// Single kernels of a back-end in f32 or bf16 on random numbers, for comparisons with other
// programs: median wall seconds of `repeats` calls after two of warm-up.

// Causal attention without a bias, forward and backward.
double attention_seconds(Backend& backend, const AttentionShape& shape, int repeats);
// AdamW on one matrix of about `parameters` numbers, its gradient ready.
double adamw_seconds(Backend& backend, std::int64_t parameters, int repeats);

}  // namespace moebius
