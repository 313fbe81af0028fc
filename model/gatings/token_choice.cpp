#include "model/gatings/token_choice.h"

#include <algorithm>

namespace moebius {
namespace {

class TokenChoice : public Gating {
 public:
  TokenChoice(const GatingSite& site, std::int64_t choices, bool renormalise)
      : site_(site), choices_(choices), renormalise_(renormalise) {}

  std::int64_t bound(Mode, const TokenShape& shape) const override {
    const std::int64_t wanted = choices_ * shape.tokens();
    if (site_.capacity < 0) return wanted;
    const std::int64_t slots =
        groups(site_.group, shape).count * site_.experts * slots_per_expert(site_, shape);
    return std::min(wanted, slots);
  }

  // Every mode routes alike: a capacity keeps dropping in evaluation (declared by causality).
  void route(Step& step, View probs, Routing& r) const override {
    step.backend.routing.choose_experts(probs, groups(site_.group, step.shape),
                                        slots_per_expert(site_, step.shape), renormalise_, r);
  }

  void backward(Step& step, View probs, const Routing& r, View dweight,
                View dprobs) const override {
    step.backend.routing.choice_backward(probs, r, renormalise_, dweight, dprobs);
  }

 private:
  GatingSite site_;
  std::int64_t choices_;
  bool renormalise_;
};

std::string why_illegal(const GatingSite& site, const TokenShape& shape, std::int64_t choices) {
  if (site.experts < choices)
    return fmt::format("experts: {} choices per token need as many experts, not {}", choices,
                       site.experts);
  const std::string reason = why_bad_groups(site, shape);
  return reason.empty() ? "" : "group: " + reason;
}

Causality causality(const GatingSite& site, std::int64_t choices) {
  if (site.capacity < 0 || site.group == "position") return Causality::Yes;
  // One choice within a sequence: slots fill in token order, so nobody displaces an earlier token.
  if (choices == 1 && site.group == "sequence") return Causality::Yes;
  return Causality::Drops;
}

}  // namespace

GatingPlugin token_choice(const std::string& help, std::int64_t choices, bool renormalise) {
  GatingPlugin plugin;
  plugin.help = help;
  plugin.family = "token_choice";
  plugin.choices = choices;
  plugin.balance_loss = true;
  plugin.pairs_per_token = [choices](double capacity) {
    const double wanted = static_cast<double>(choices);
    return capacity < 0 ? wanted : std::min(wanted, capacity);
  };
  plugin.why_illegal = [choices](const GatingSite& site, const TokenShape& shape) {
    return why_illegal(site, shape, choices);
  };
  plugin.causality = [choices](const GatingSite& site, const TokenShape&) {
    return causality(site, choices);
  };
  plugin.make = [choices, renormalise](const GatingSite& site, Params&) {
    return std::unique_ptr<Gating>(std::make_unique<TokenChoice>(site, choices, renormalise));
  };
  return plugin;
}

}  // namespace moebius
