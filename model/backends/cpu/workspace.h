#pragma once
#include <cstdint>
#include <vector>

#include "model/backend.h"

namespace moebius::cpu {

// Floats of scratch: of a thread in attention and its products, and of the loss.
std::int64_t attention_scratch(std::int64_t seq, std::int64_t head_dim, Dtype operand);
std::int64_t attention_packing(std::int64_t seq, std::int64_t head_dim, Dtype operand);
std::int64_t loss_scratch(std::int64_t tokens, std::int64_t vocab);
// Of one matrix in the backward pass: what the norm of its gradient takes, or, where it is updated
// there, the gradient and what its update takes.
std::int64_t backward_scratch(const ParamSlot& slot, bool updates);

// The type in which products are multiplied: "fp32", "bf16", or with "auto" the faster one here.
Dtype operand_of(const BackendOptions& options);

// Bytes that a Cpu takes for itself while it trains a model whose micro-batch runs `products`.
std::int64_t workspace_bytes(const Params& params, const std::vector<Operation>& products,
                             const BackendOptions& options);

}  // namespace moebius::cpu
