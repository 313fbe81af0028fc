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
  // Vectors keep a full second moment, and an empty column part.
  std::vector<StateSlot> state(const Params& params) const override {
    std::vector<StateSlot> result;
    for (const ParamSlot& slot : params.slots()) {
      if (slot.role == Role::State) continue;
      const bool full = slot.role == Role::Vector;
      result.push_back(
          {"adafactor.rows." + slot.name, slot.batch * slot.rows, full ? slot.cols : 1});
      if (!full) result.push_back({"adafactor.columns." + slot.name, slot.batch, slot.cols});
    }
    return result;
  }

  void step(Backend& backend, const Params& params, const std::vector<View>& state, std::int64_t t,
            double lr, double hidden_factor, double weight_decay, View norm2,
            double clip) const override {
    Adafactor update{.lr = lr,
                     .beta2 = std::min(kMaxBeta2, 1 - std::pow(static_cast<double>(t), -0.8)),
                     .epsilon = kEpsilon,
                     .clip_rms = kClipRms,
                     .decay = 0};
    std::size_t next = 0;
    for (std::size_t i = 0; i < params.slots().size(); ++i) {
      const ParamSlot& slot = params.slots()[i];
      if (slot.role == Role::State) continue;
      update.lr = slot_rate(slot, lr, hidden_factor);
      update.decay = slot_decay(slot, weight_decay);
      const View rows = state.at(next++);
      const View columns = slot.role == Role::Vector ? View{} : state.at(next++);
      backend.adafactor(Weight{static_cast<int>(i)}, rows, columns, norm2, clip, update);
    }
  }
};

}  // namespace

OptimizerPlugin optimizers_adafactor() {
  return {"factored second moment, no first moment",
          [] { return std::unique_ptr<Optimizer>(std::make_unique<AdafactorOptimizer>()); }};
}

}  // namespace moebius
