#include "model/optimizer.h"

namespace moebius {

std::optional<Rule> Optimizer::rule(const UpdateRate&) const { return std::nullopt; }

void Optimizer::update(Backend&, const TrainedTensor& tensor, const UpdateRate&) const {
  throw Error(Exit::Bug, "[optimizer] has neither a rule nor an update for " + tensor.slot.name);
}

std::unique_ptr<Optimizer> make_optimizer(const Recipe& recipe,
                                          const Registry<OptimizerPlugin>& optimizers) {
  const OptimizerPlugin& plugin = optimizers.get(recipe.optimizer);
  if (recipe.scales_updates() && !plugin.scales_updates)
    bad_input("recipe:/update_scale", "optimizer " + recipe.optimizer + " does not scale its steps",
              Recipe().update_scale, recipe.update_scale);
  return plugin.make(recipe);
}

}  // namespace moebius
