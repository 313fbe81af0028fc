// Adafactor (1804.04235) without first moment, as 2306.00008 uses it: the second moment of a matrix
// is kept as row and column means, so the state is small. With update_scale "parameter" a step is
// relative to the tensor's root mean square (algorithm 4); the rate 0.01 of the papers means that.

#include <algorithm>
#include <cmath>

#include "model/optimizer.h"

namespace moebius {
namespace {

constexpr double kEpsilon = 1e-30;  // added to squared gradients
constexpr double kClipRms = 1.0;    // of the update, per matrix: every expert is one
constexpr double kMaxBeta2 = 0.99;
constexpr double kLeastScale = 1e-3;  // what a tensor of zeros has, epsilon 2 of the paper

class AdafactorOptimizer : public Optimizer {
 public:
  explicit AdafactorOptimizer(bool relative) : least_scale_(relative ? kLeastScale : 0) {}

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
                     .decay = rate.decay,
                     .least_scale = least_scale_};
  }

 private:
  double least_scale_;
};

}  // namespace

OptimizerPlugin optimizers_adafactor() {
  return {.help = "factored second moment, no first moment",
          .make = [](const Recipe& recipe) -> std::unique_ptr<Optimizer> {
            return std::make_unique<AdafactorOptimizer>(recipe.scales_updates());
          },
          .scales_updates = true};
}

}  // namespace moebius
