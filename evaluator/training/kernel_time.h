#pragma once
#include <cstdint>

#include "model/backend.h"

namespace moebius {

// Single kernels of back-end `cpu` on random numbers, for comparisons with other programs: median
// wall seconds of `repeats` calls after two of warm-up.

// Causal attention without a bias, forward and backward.
double attention_seconds(const AttentionShape& shape, const BackendOptions& options, int repeats);
// AdamW on one matrix of about `parameters` numbers, its gradient ready.
double adamw_seconds(std::int64_t parameters, const BackendOptions& options, int repeats);

}  // namespace moebius
