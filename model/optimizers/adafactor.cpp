// Adafactor (1804.04235) without first moment and without relative step sizes, as 2306.00008 uses
// it: the second moment of a matrix is kept as row and column means, so the state is small.

#include <algorithm>
#include <cmath>

#include "model/optimizer.h"

namespace moebius {
namespace {

constexpr double kEpsilon = 1e-30;  // added to squared gradients
constexpr double kClipRms = 1.0;    // of the update, per matrix: every expert is one
constexpr double kMaxBeta2 = 0.99;

class AdafactorOptimizer : public Optimizer {
 public:
  // Vectors keep a full second moment.
  std::vector<StateSlot> state(const ParamSlot& slot) const override {
    if (slot.role == Role::Vector) return {{"rows", slot.batch * slot.rows, slot.cols}};
    return {{"rows", slot.batch * slot.rows, 1}, {"columns", slot.batch, slot.cols}};
  }

  std::optional<Rule> rule(const UpdateRate& rate) const override {
    return Adafactor{.lr = rate.lr,
                     .beta2 = std::min(kMaxBeta2, 1 - std::pow(static_cast<double>(rate.t), -0.8)),
                     .epsilon = kEpsilon,
                     .clip_rms = kClipRms,
                     .decay = rate.decay};
  }
};

}  // namespace

OptimizerPlugin optimizers_adafactor() {
  return {"factored second moment, no first moment",
          [] { return std::unique_ptr<Optimizer>(std::make_unique<AdafactorOptimizer>()); }};
}

}  // namespace moebius
