// AdamW (1711.05101): Adam with decoupled weight decay. Two moments per parameter.

#include <cmath>

#include "model/optimizer.h"

namespace moebius {
namespace {

constexpr double kBeta1 = 0.9, kBeta2 = 0.95, kEpsilon = 1e-8;

class AdamWOptimizer : public Optimizer {
 public:
  std::vector<StateSlot> state(const Params& params) const override {
    std::vector<StateSlot> result;
    for (const ParamSlot& slot : params.slots()) {
      if (slot.role == Role::State) continue;
      result.push_back({"adamw.m." + slot.name, slot.batch * slot.rows, slot.cols});
      result.push_back({"adamw.v." + slot.name, slot.batch * slot.rows, slot.cols});
    }
    return result;
  }

  void step(Backend& backend, const Params& params, const std::vector<View>& state, std::int64_t t,
            double lr, double hidden_factor, double weight_decay, View norm2,
            double clip) const override {
    const double steps = static_cast<double>(t);
    AdamW update{.lr = lr,
                 .beta1 = kBeta1,
                 .beta2 = kBeta2,
                 .epsilon = kEpsilon,
                 .decay = 0,
                 .correction1 = 1 - std::pow(kBeta1, steps),
                 .correction2 = 1 - std::pow(kBeta2, steps)};
    std::size_t next = 0;
    for (std::size_t i = 0; i < params.slots().size(); ++i) {
      const ParamSlot& slot = params.slots()[i];
      if (slot.role == Role::State) continue;
      update.lr = slot_rate(slot, lr, hidden_factor);
      update.decay = slot_decay(slot, weight_decay);
      backend.adamw(Weight{static_cast<int>(i)}, state.at(next), state.at(next + 1), norm2, clip,
                    update);
      next += 2;
    }
  }
};

}  // namespace

OptimizerPlugin optimizers_adamw() {
  return {"Adam with decoupled weight decay, beta 0.9 and 0.95",
          [] { return std::unique_ptr<Optimizer>(std::make_unique<AdamWOptimizer>()); }};
}

}  // namespace moebius
