#pragma once
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "model/layer.h"

namespace moebius {

// How an MoE sub-layer decides which expert sees which token, and with what weight. c = slots per
// token for every gating (DESIGN 3).
struct GatingSite {
  std::string name;          // prefix of its parameter names: "stack.0.sublayer.3.moe"
  std::int64_t d_model = 0;  // D
  std::int64_t experts = 1;  // E
  double capacity = -1;      // c; < 0 = dropless ("none")
  std::string group;         // "sequence" | "position" | "batch" | "tokens:N"
};

// Owns the scores of experts as well as the choice among them: from hidden states and token ids to
// routed pairs with gates, and back.
class Gating {
 public:
  virtual ~Gating() = default;
  // Declares what it keeps between steps (Role::State) and adds up within one (Role::Sum). Called
  // after the experts' weights are declared: checkpoints and result hashes hold slots in the order
  // of declaration.
  virtual void declare_state(Params&) {}
  // Rows that routing may need at most for T tokens: the bound of every [P, .] buffer.
  virtual std::int64_t bound(Mode mode, const TokenShape& shape) const = 0;
  // From h [T, D] and step.tokens fills `r`, whose views the caller allocated: bound() rows; choice
  // and row [T, choices]. Adds to step.statistics as router_losses does. Returns the
  // context that backward reads, in the arena; nullptr when not training.
  virtual const void* route(Step& step, View h, Routing& r) const = 0;
  // dh += the gradient through gates and router losses, dweight [Pmax, 1] being that of the gates;
  // accumulates the gradients of its own weights.
  virtual void backward(Step& step, const void* context, View h, const Routing& r, View dweight,
                        View dh) const = 0;
  // Called once after the optimizer's step, whatever the number of micro-batches. A gating moves
  // its State here by what it has added up.
  virtual void end_step(Backend&) const {}
};

struct GatingPlugin {
  std::string help;
  RateGroup rate_group = {};
  std::int64_t choices = 0;  // k; 0 when experts choose
  // Pairs per token that are computed: min(k, c), or c. Exact share for static cost.
  std::function<double(double capacity)> pairs_per_token;
  // What scoring and choosing do, forward, for the static cost.
  std::function<std::vector<Operation>(const GatingSite&, const TokenShape&)> operations;
  std::function<std::string(const GatingSite&, const TokenShape&)> why_illegal;
  // Of the training routing. Mode::Causal, by which blocks are ranked, must never see the future.
  std::function<Causality(const GatingSite&, const TokenShape&)> causality;
  // Declares its weights.
  std::function<std::unique_ptr<Gating>(const GatingSite&, Params&)> make;
};

// Groups of a micro-batch (model/gatings/groups.cpp): sequence G = S, position G = B, batch G = T,
// tokens:N G = N.
Groups groups(const std::string& group, const TokenShape& shape);
// "" or why G tokens cannot be grouped so, or G * c is no multiple of E.
std::string why_bad_groups(const GatingSite& site, const TokenShape& shape);
// Whether a group has tokens of every sequence of a batch, so that a part of it would be another.
bool spans_batch(const std::string& group);
// C = c G / E; -1 = dropless.
std::int64_t slots_per_expert(const GatingSite& site, const TokenShape& shape);

}  // namespace moebius
