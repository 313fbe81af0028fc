// Expert Choice (2202.09368): each expert takes its C = c G / E best tokens of a group, gate = raw
// softmax probability, no balance loss. Choosing among positions sees the future, and choosing
// among the sequences of a batch is undefined for a batch of one; the causal mode therefore takes
// every token above a running estimate of the expert's selection threshold, for every kind of
// group.

#include <algorithm>
#include <cmath>

#include "model/gatings/softmax.h"

namespace moebius {
namespace {

constexpr double kKeep = 0.95;     // of the threshold's moving average, per step
constexpr double kCausalRoom = 4;  // a token of the causal mode gets at most this times c experts

class ExpertChoice : public SoftmaxGating {
 public:
  ExpertChoice(const GatingSite& where, Params& params) : SoftmaxGating(where, {}, params) {}

  void declare_state(Params& params) override {
    threshold_ = params.declare({.name = site().name + ".threshold",
                                 .rows = 1,
                                 .cols = site().experts,
                                 .role = Role::State,
                                 .init = Init::constant(0)});  // 0 = not yet set
    lowest_ = params.declare({.name = site().name + ".lowest",
                              .rows = 1,
                              .cols = site().experts + 1,
                              .role = Role::Sum,
                              .init = Init::constant(0)});
  }

  std::int64_t bound(Mode mode, const TokenShape& shape) const override {
    if (mode == Mode::Causal) {
      const auto room = static_cast<std::int64_t>(std::ceil(kCausalRoom * site().capacity));
      return std::min(site().experts, room) * shape.tokens();
    }
    return groups(site().group, shape).count * site().experts * slots_per_expert(site(), shape);
  }

  void end_step(Backend& backend) const override {
    backend.routing.follow_lowest(threshold_, lowest_, kKeep);
  }

 private:
  void choose(Step& step, View probs, Routing& r) const override {
    if (step.mode == Mode::Causal) return step.backend.routing.choose_above(probs, threshold_, r);
    step.backend.routing.choose_tokens(probs, groups(site().group, step.shape),
                                       slots_per_expert(site(), step.shape),
                                       step.training() ? lowest_ : Weight{}, r);
  }

  Weight threshold_;  // [1, E] State
  Weight lowest_;     // [1, E + 1] Sum: taken scores of a step, and the number of groups
};

std::string why_illegal(const GatingSite& site, const TokenShape& shape) {
  if (site.capacity < 0)
    return "capacity: experts that choose tokens need a number of slots, not \"none\"";
  const std::string reason = why_bad_groups(site, shape);
  return reason.empty() ? "" : "group: " + reason;
}

}  // namespace

GatingPlugin gatings_expert_choice() {
  GatingPlugin plugin;
  plugin.help = "experts choose their best tokens (Expert Choice)";
  plugin.rate_group = {"expert_choice", 2};
  plugin.operations = softmax_operations;
  plugin.pairs_per_token = [](double capacity) { return capacity; };
  plugin.why_illegal = why_illegal;
  plugin.causality = [](const GatingSite& site, const TokenShape&) {
    return site.group == "position" ? Causality::Yes : Causality::Selection;
  };
  plugin.make = [](const GatingSite& site, Params& params) {
    return std::unique_ptr<Gating>(std::make_unique<ExpertChoice>(site, params));
  };
  return plugin;
}

}  // namespace moebius
