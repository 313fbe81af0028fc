#include "model/optimizer.h"

namespace moebius {

std::optional<Rule> Optimizer::rule(const UpdateRate&) const { return std::nullopt; }

void Optimizer::update(Backend&, const TrainedTensor& tensor, const UpdateRate&) const {
  throw Error(Exit::Bug, "[optimizer] has neither a rule nor an update for " + tensor.slot.name);
}

}  // namespace moebius
