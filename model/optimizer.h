#pragma once
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "model/backend.h"
#include "space/recipe.h"

namespace moebius {

// One trained tensor's share of the optimizer state: named views in the learner's state memory,
// saved with checkpoints.
struct StateSlot {
  std::string name;  // "adamw.m.stack.0..."
  std::int64_t rows = 0, cols = 0;
};

// Keeps no memory of its own: the learner allocates state(), hands the views back in the same order
// to every step.
class Optimizer {
 public:
  virtual ~Optimizer() = default;
  virtual std::vector<StateSlot> state(const Params& params) const = 0;
  // One update of every trained slot at step t (1-based) with learning rate lr (hidden matrices: lr
  // * hidden_factor), gradients clipped to `clip` through norm2 = sum of squares over all
  // gradients, which are used up.
  virtual void step(Backend& backend, const Params& params, const std::vector<View>& state,
                    std::int64_t t, double lr, double hidden_factor, double weight_decay,
                    View norm2, double clip) const = 0;
};

// What the recipe means for one tensor (DESIGN 3): hidden matrices train with lr * hidden_factor,
// vectors without weight decay.
inline double slot_rate(const ParamSlot& slot, double lr, double hidden_factor) {
  return slot.role == Role::Hidden ? lr * hidden_factor : lr;
}
inline double slot_decay(const ParamSlot& slot, double weight_decay) {
  return slot.role == Role::Vector ? 0 : weight_decay;
}

struct OptimizerPlugin {
  std::string help;
  std::function<std::unique_ptr<Optimizer>()> make;
};

}  // namespace moebius
