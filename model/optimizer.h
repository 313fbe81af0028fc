#pragma once
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "model/backend.h"
#include "space/base/registry.h"
#include "space/recipe.h"

namespace moebius {

// A matrix of optimizer state, zero at first, in the learner's memory. Checkpoints hold it as
// OPTIMIZER.NAME.SLOT: "adamw.m.stack.0..".
struct StateSlot {
  std::string name;  // "m"
  std::int64_t rows = 0, cols = 0;
};

// Rate and weight decay of a tensor at step t (1-based).
struct UpdateRate {
  std::int64_t t = 1;
  double lr = 0, decay = 0;
};

// A tensor whose gradient of a step is complete.
struct TrainedTensor {
  const ParamSlot& slot;
  View value, gradient;         // [batch * rows, cols]
  std::span<const View> state;  // as Optimizer::state lists them
  double scale = 1;             // the gradient counts times this: gradient clipping
};

// How gradients change weights. It keeps no memory of its own. An optimizer either has a rule that
// back-ends know (fast, also in the backward pass) or updates tensors itself.
class Optimizer {
 public:
  virtual ~Optimizer() = default;
  // What it keeps of a trained tensor: any matrices.
  virtual std::vector<StateSlot> state(const ParamSlot& slot) const = 0;
  // The rule that kernels of the update family apply, with that state; always or never one.
  virtual std::optional<Rule> rule(const UpdateRate& rate) const;
  // Without a rule: changes value and state of one tensor after the backward pass, through the
  // back-end (model/numbers.h reads and writes its numbers). The gradient may be destroyed.
  virtual void update(Backend& backend, const TrainedTensor& tensor, const UpdateRate& rate) const;

  bool has_rule() const { return rule({}).has_value(); }
};

struct OptimizerPlugin {
  std::string help;
  std::function<std::unique_ptr<Optimizer>(const Recipe&)> make;
  bool scales_updates = false;  // heeds Recipe::update_scale
};

// That of the recipe; Error(BadInput) naming what it does not know.
std::unique_ptr<Optimizer> make_optimizer(const Recipe& recipe,
                                          const Registry<OptimizerPlugin>& optimizers);

}  // namespace moebius
