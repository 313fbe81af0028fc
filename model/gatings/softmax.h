#pragma once
#include "model/gating.h"

namespace moebius {

// A gating whose scores are probabilities softmax(h W), W [D, E] a router with the load-balance and
// z losses. What remains is the choice.
class SoftmaxGating : public Gating {
 public:
  struct Rules {
    bool renormalise = false;  // gates of a token are divided by their sum, before capacity
    bool balance = false;      // whether the load-balance loss applies
  };
  SoftmaxGating(const GatingSite& site, const Rules& rules, Params& params);

  const void* route(Step& step, View h, Routing& r) const final;
  void backward(Step& step, const void* context, View h, const Routing& r, View dweight,
                View dh) const final;

 protected:
  // Fills `r` from probs [T, E].
  virtual void choose(Step& step, View probs, Routing& r) const = 0;
  const GatingSite& site() const { return site_; }
  const Rules& rules() const { return rules_; }

 private:
  GatingSite site_;
  Rules rules_;
  Weight router_;  // [D, E]
};

// Of the router's product, the softmax and a choice.
std::vector<Operation> softmax_operations(const GatingSite& site, const TokenShape& shape);

}  // namespace moebius
