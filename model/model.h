#pragma once
#include <cstdint>
#include <memory>
#include <vector>

#include "model/catalog.h"
#include "model/layer.h"
#include "space/recipe.h"
#include "space/spec.h"

namespace moebius {

// Tokens of a micro-batch, on the back-end: token and target [T, 1] i32.
struct TokenBatch {
  View token, target;
};

// embed -> depth x [x + layer(norm(x))] -> norm -> cross-entropy with the tied table (DESIGN 3).
// Const after construction: everything that changes lives in Params, the arena and the back-end.
class Model {
 public:
  // Declares every parameter in `params`. The spec must be legal for `shape`.
  Model(const Spec& spec, const TokenShape& shape, std::int64_t vocab, const Catalog& catalog,
        Params& params);
  ~Model();
  Model(const Model&) = delete;
  Model& operator=(const Model&) = delete;

  // Mode::Train: forward and backward, gradients of loss_scale * sum of token losses (+ router
  // losses) accumulate. Other modes: forward only. loss [T, 1] f64 is written either way. Resets
  // the arena.
  void run(Step& step, const TokenBatch& batch, double loss_scale, View loss) const;
  // logits [T, V] of every token, for sampling and probes; forward only, in step.mode (not Train).
  // Resets the arena.
  void logits(Step& step, View token, View logits) const;

  // Called once after the optimizer's step.
  void end_step(Backend& backend) const;

  std::int64_t vocab() const { return vocab_; }
  const Spec& spec() const { return spec_; }

 private:
  struct Site;    // one sub-layer: its layer and the gain of its norm
  struct Normed;  // the residual stream at some place, and its norm
  struct Saved;   // what its forward leaves for backward, linked to the sub-layer before
  static Normed norm(Step& step, View x, View residual, Weight gain);
  // Embedding, all sub-layers and the last norm; `last` is the newest Saved of the chain (nullptr
  // when not training).
  Normed forward(Step& step, View token, const Saved** last) const;

  Spec spec_;
  std::int64_t vocab_;
  Weight table_, positions_, final_gain_;  // [V, D], [S, D] or empty, [1, D]
  std::vector<Site> sites_;
};

}  // namespace moebius
