#include "model/gatings/token_choice.h"

#include <algorithm>

namespace moebius {
namespace {

class TokenChoice : public SoftmaxGating {
 public:
  TokenChoice(const GatingSite& where, std::int64_t choices, bool renormalise, Params& params)
      : SoftmaxGating(where, {.renormalise = renormalise, .balance = true}, params),
        choices_(choices) {}

  std::int64_t bound(Mode mode, const TokenShape& shape) const override {
    const std::int64_t wanted = choices_ * shape.tokens(), limit = capacity(mode, shape);
    if (limit < 0) return wanted;
    return std::min(wanted, groups(site().group, shape).count * site().experts * limit);
  }

 private:
  // Slots of an expert; -1 = no limit. The causal mode has none: no token can displace another, of
  // its own sequence or of the others in a batch.
  std::int64_t capacity(Mode mode, const TokenShape& shape) const {
    return mode == Mode::Causal ? -1 : slots_per_expert(site(), shape);
  }

  void choose(Step& step, View probs, Routing& r) const override {
    step.backend.routing.choose_experts(probs, groups(site().group, step.shape),
                                        capacity(step.mode, step.shape), rules().renormalise, r);
  }

  std::int64_t choices_;
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
  plugin.rate_group = {"token_choice", 1};
  plugin.choices = choices;
  plugin.operations = softmax_operations;
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
  plugin.make = [choices, renormalise](const GatingSite& site, Params& params) {
    return std::unique_ptr<Gating>(
        std::make_unique<TokenChoice>(site, choices, renormalise, params));
  };
  return plugin;
}

}  // namespace moebius
