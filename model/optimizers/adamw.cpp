// AdamW (1711.05101): Adam with decoupled weight decay. Two moments per parameter.

#include <cmath>

#include "model/optimizer.h"

namespace moebius {
namespace {

constexpr double kBeta1 = 0.9, kBeta2 = 0.95, kEpsilon = 1e-8;

class AdamWOptimizer : public Optimizer {
 public:
  std::vector<StateSlot> state(const ParamSlot& slot) const override {
    return {{"m", slot.batch * slot.rows, slot.cols}, {"v", slot.batch * slot.rows, slot.cols}};
  }

  std::optional<Rule> rule(const UpdateRate& rate) const override {
    const double steps = static_cast<double>(rate.t);
    return AdamW{.lr = rate.lr,
                 .beta1 = kBeta1,
                 .beta2 = kBeta2,
                 .epsilon = kEpsilon,
                 .decay = rate.decay,
                 .correction1 = 1 - std::pow(kBeta1, steps),
                 .correction2 = 1 - std::pow(kBeta2, steps)};
  }
};

}  // namespace

OptimizerPlugin optimizers_adamw() {
  return {"Adam with decoupled weight decay, beta 0.9 and 0.95", [](const Recipe&) {
            return std::unique_ptr<Optimizer>(std::make_unique<AdamWOptimizer>());
          }};
}

}  // namespace moebius
