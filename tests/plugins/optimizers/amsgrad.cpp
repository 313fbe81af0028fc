// AMSGrad (1904.09237) with decoupled weight decay: Adam whose second moment never falls. No
// back-end has a kernel for it.

#include <algorithm>
#include <cmath>

#include "model/numbers.h"
#include "model/optimizer.h"

namespace moebius {
namespace {

constexpr double kBeta1 = 0.9, kBeta2 = 0.95, kEpsilon = 1e-8;

class AmsGrad : public Optimizer {
 public:
  std::vector<StateSlot> state(const ParamSlot& slot) const override {
    const std::int64_t rows = slot.batch * slot.rows;
    return {{"m", rows, slot.cols}, {"v", rows, slot.cols}, {"largest", rows, slot.cols}};
  }

  void update(Backend& backend, const TrainedTensor& tensor,
              const UpdateRate& rate) const override {
    Memory& memory = backend.memory;
    std::vector<double> w = read_numbers(memory, tensor.value);
    const std::vector<double> g = read_numbers(memory, tensor.gradient);
    std::vector<double> m = read_numbers(memory, tensor.state[0]);
    std::vector<double> v = read_numbers(memory, tensor.state[1]);
    std::vector<double> largest = read_numbers(memory, tensor.state[2]);
    for (std::size_t i = 0; i < w.size(); ++i) {
      const double gradient = tensor.scale * g[i];
      m[i] = kBeta1 * m[i] + (1 - kBeta1) * gradient;
      v[i] = kBeta2 * v[i] + (1 - kBeta2) * gradient * gradient;
      largest[i] = std::max(largest[i], v[i]);
      w[i] -= rate.lr * (m[i] / (std::sqrt(largest[i]) + kEpsilon) + rate.decay * w[i]);
    }
    write_numbers(memory, tensor.value, w);
    write_numbers(memory, tensor.state[0], m);
    write_numbers(memory, tensor.state[1], v);
    write_numbers(memory, tensor.state[2], largest);
  }
};

}  // namespace

OptimizerPlugin optimizers_amsgrad() {
  return {"Adam whose second moment never falls",
          [](const Recipe&) { return std::unique_ptr<Optimizer>(std::make_unique<AmsGrad>()); }};
}

}  // namespace moebius
