#include "model/gatings/softmax.h"

namespace moebius {
namespace {

constexpr double kRouterStddev = 0.02;

struct Scores {
  View logits, probs;  // [T, E]
};

}  // namespace

SoftmaxGating::SoftmaxGating(const GatingSite& site, const Rules& rules, Params& params)
    : site_(site),
      rules_(rules),
      router_(params.declare({.name = site.name + ".router",
                              .rows = site.d_model,
                              .cols = site.experts,
                              .role = Role::Router,
                              .init = Init::normal(kRouterStddev)})) {}

const void* SoftmaxGating::route(Step& step, View h, Routing& r) const {
  Backend& backend = step.backend;
  Scores& scores = step.arena.context<Scores>();
  scores.logits = step.keep_exact(h.rows, site_.experts);
  scores.probs = step.keep_exact(h.rows, site_.experts);
  backend.products.matmul(h, router_, scores.logits);
  backend.routing.softmax(scores.logits, scores.probs);
  choose(step, scores.probs, r);
  backend.routing.router_losses(scores.logits, scores.probs, groups(site_.group, step.shape), r,
                                step.statistics);
  return step.training() ? &scores : nullptr;
}

void SoftmaxGating::backward(Step& step, const void* context, View h, const Routing& r,
                             View dweight, View dh) const {
  const Arena::Scope scope(step.arena);
  Backend& backend = step.backend;
  const auto& [logits, probs] = *static_cast<const Scores*>(context);
  const View dprobs = step.scratch_exact(h.rows, site_.experts);
  const View dlogits = step.scratch_exact(h.rows, site_.experts);
  backend.memory.fill(dprobs, 0);
  backend.memory.fill(dlogits, 0);
  backend.routing.choice_backward(probs, r, rules_.renormalise, dweight, dprobs);
  backend.routing.router_losses_backward(logits, probs, groups(site_.group, step.shape), r,
                                         rules_.balance ? step.aux : 0, step.z, dprobs, dlogits);
  backend.routing.softmax_backward(probs, dprobs, dlogits);
  backend.products.matmul_backward(h, dlogits, router_, dh, true);
}

std::vector<Operation> softmax_operations(const GatingSite& site, const TokenShape& shape) {
  const std::int64_t tokens = shape.tokens();
  return {Matmul{.rows = tokens, .n = site.experts, .k = shape.d_model},
          Pass{.bytes = 12 * static_cast<double>(tokens * site.experts)}};
}

}  // namespace moebius
