#pragma once
#include <cstdint>
#include <vector>

#include "space/recipe.h"
#include "space/spec.h"

namespace moebius {

// Static cost of a model: folds over the operation list of its sub-layers, the final norm, the
// embedding and the head.
struct Cost {
  std::int64_t parameters = 0;            // everything that is trained
  std::int64_t embedding_parameters = 0;  // token table (tied with the head) and learned positions
  std::int64_t block_parameters = 0;      // parameters - embedding_parameters
  std::int64_t active_parameters =
      0;  // of block_parameters, those one token meets (experts weighted by rows / T)
  double forward_flops = 0;  // per token, products with weights and attention, head included
  double active_flops =
      0;  // per token, forward, without the head: what floors and iso-FLOP bands compare
  double head_flops = 0;      // per token, forward
  double step_flops = 0;      // one optimizer step of `tokens` tokens: 3 x forward
  double pass_bytes = 0;      // one step, forward and backward
  double exchange_bytes = 0;  // one step
  double update_bytes = 0;    // one step, without the optimizer's state
  std::int64_t tokens = 0;    // T of a step (all micro-batches)
};

// The operations of the whole model for one micro-batch of `shape`: sub-layers in order (stacks
// times), norms, head, and the update of all weights.
std::vector<Operation> operations(const Spec& spec, const LayerTypes& types,
                                  const TokenShape& shape, std::int64_t vocab);

// Cost::active_flops alone.
double active_flops(const Spec& spec, const LayerTypes& types, const TokenShape& shape);

// Cost of one optimizer step under the recipe. Sums are checked: Error(BadInput) above 1e15
// parameters.
Cost cost(const Spec& spec, const LayerTypes& types, const Recipe& recipe, std::int64_t vocab);

// "" or why the block cannot be trained under the recipe: why_illegal for its micro-batch, and
// groups of several sequences forbid micro-batching.
std::string why_illegal(const Spec& spec, const LayerTypes& types, const Recipe& recipe);

}  // namespace moebius
