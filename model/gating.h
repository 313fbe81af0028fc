#pragma once
#include <functional>
#include <memory>
#include <string>

#include "model/layer.h"

namespace moebius {

// How an MoE sub-layer decides which expert sees which token. c = slots per token for every gating
// (DESIGN 3).
struct GatingSite {
  std::string name;  // prefix of its State slots: "stack.0.sublayer.3.moe"
  std::int64_t experts = 1;
  double capacity = -1;  // c; < 0 = dropless ("none")
  std::string group;     // "sequence" | "position" | "batch" | "tokens:N"
};

class Gating {
 public:
  virtual ~Gating() = default;
  // Rows that routing may need at most for T tokens: the bound of every [P, .] buffer.
  virtual std::int64_t bound(Mode mode, const TokenShape& shape) const = 0;
  // Fills `r`, whose views the caller allocated: bound() rows; choice and row [T, choices()].
  virtual void route(Step& step, View probs, Routing& r) const = 0;
  // dprobs += the gradient of the gates.
  virtual void backward(Step& step, View probs, const Routing& r, View dweight,
                        View dprobs) const = 0;
};

struct GatingPlugin {
  std::string help;
  std::string family;         // "token_choice" | "expert_choice"
  std::int64_t choices = 0;   // k; 0 for expert choice
  bool balance_loss = false;  // whether the auxiliary loss applies
  // Pairs per token that are computed: min(k, c), or c. Exact share for static cost.
  std::function<double(double capacity)> pairs_per_token;
  std::function<std::string(const GatingSite&, const TokenShape&)> why_illegal;
  std::function<Causality(const GatingSite&, const TokenShape&)> causality;
  std::function<std::unique_ptr<Gating>(const GatingSite&, Params&)> make;
};

// Groups of a micro-batch (model/groups.cpp): sequence G = S, position G = B, batch G = T, tokens:N
// G = N. why_bad_groups: "" or why G tokens cannot be grouped so, or G * c is no multiple of E.
Groups groups(const std::string& group, const TokenShape& shape);
std::string why_bad_groups(const GatingSite& site, const TokenShape& shape);
std::int64_t slots_per_expert(const GatingSite& site,
                              const TokenShape& shape);  // C = c G / E; -1 = dropless

}  // namespace moebius
