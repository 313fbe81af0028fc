// AdamW (1711.05101): Adam with decoupled weight decay. Two moments per parameter.

#include <cmath>

#include "model/optimizer.h"

namespace moebius {
namespace {

constexpr double kBeta1 = 0.9, kBeta2 = 0.95, kEpsilon = 1e-8;

class AdamWOptimizer : public Optimizer {
 public:
  std::vector<StateSlot> state(const ParamSlot& slot) const override {
    return {{"adamw.m." + slot.name, slot.batch * slot.rows, slot.cols},
            {"adamw.v." + slot.name, slot.batch * slot.rows, slot.cols}};
  }

  Rule rule(std::int64_t t, double lr, double decay) const override {
    const double steps = static_cast<double>(t);
    return AdamW{.lr = lr,
                 .beta1 = kBeta1,
                 .beta2 = kBeta2,
                 .epsilon = kEpsilon,
                 .decay = decay,
                 .correction1 = 1 - std::pow(kBeta1, steps),
                 .correction2 = 1 - std::pow(kBeta2, steps)};
  }
};

}  // namespace

OptimizerPlugin optimizers_adamw() {
  return {"Adam with decoupled weight decay, beta 0.9 and 0.95",
          [] { return std::unique_ptr<Optimizer>(std::make_unique<AdamWOptimizer>()); }};
}

}  // namespace moebius
