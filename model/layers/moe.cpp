// Mixture of experts: a router scores experts, a gating (model/gatings) decides which expert sees
// which token, experts are feed-forward networks over the gathered rows, and their outputs return
// to their tokens weighted by the gates.

#include <algorithm>
#include <cmath>

#include "model/catalog.h"
#include "model/layers/activation.h"

namespace moebius {
namespace {

constexpr double kRouterStddev = 0.02;

const GatingPlugin& gating_of(const Fields& fields) {
  return builtin_gatings().get(text(fields, "gating"));
}

// c, or -1 for "none".
double capacity_of(const Fields& fields) {
  const bool dropless = std::holds_alternative<std::string>(fields.at("capacity"));
  return dropless ? -1 : number(fields, "capacity");
}

GatingSite gating_site(const Fields& fields, const std::string& name) {
  return {name, integer(fields, "experts"), capacity_of(fields), text(fields, "group")};
}

std::int64_t expected_pairs(const Fields& fields, std::int64_t tokens) {
  return std::llround(static_cast<double>(tokens) *
                      gating_of(fields).pairs_per_token(capacity_of(fields)));
}

class Moe : public Layer {
 public:
  Moe(const Fields& fields, const LayerSite& site, Params& params)
      : experts_(integer(fields, "experts")),
        hidden_(integer(fields, "d_moe")),
        choices_(gating_of(fields).choices),
        balance_loss_(gating_of(fields).balance_loss),
        pairs_per_token_(gating_of(fields).pairs_per_token(capacity_of(fields))),
        group_(text(fields, "group")),
        activation_(hidden_activation(text(fields, "activation"))) {
    router_ = params.declare({.name = site.name + ".router",
                              .rows = site.d_model,
                              .cols = experts_,
                              .role = Role::Router,
                              .init = Init::normal(kRouterStddev)});
    weights_ = declare_hidden(site, experts_, hidden_, activation_.gated, params);
    gating_ = gating_of(fields).make(gating_site(fields, site.name), params);
  }

  const void* forward(Step& step, View h, View y) const override {
    const Arena::Scope scope(step.arena);
    Backend& backend = step.backend;
    Saved& saved = step.arena.context<Saved>();
    // router
    saved.logits = step.keep_exact(h.rows, experts_);
    saved.probs = step.keep_exact(h.rows, experts_);
    backend.products.matmul(h, router_, saved.logits);
    backend.routing.softmax(saved.logits, saved.probs);
    saved.routing = empty_routing(step);
    gating_->route(step, saved.probs, saved.routing);
    const Routing& r = saved.routing;
    if (step.training())
      backend.routing.router_losses(saved.logits, saved.probs, groups(group_, step.shape), r,
                                    step.statistics);
    // experts
    const std::int64_t pairs = r.token.rows;  // Pmax
    saved.input = step.keep(pairs, h.cols);
    saved.up = step.keep(pairs, hidden_);
    saved.hidden = step.keep(pairs, hidden_);
    saved.output = step.keep(pairs, h.cols);
    backend.routing.gather(h, r, saved.input);
    backend.products.expert_matmul(saved.input, r, weights_.up, saved.up);
    if (activation_.gated) {
      saved.gate = step.keep(pairs, hidden_);
      backend.products.expert_matmul(saved.input, r, weights_.gate, saved.gate);
    }
    activate_hidden(step, activation_, saved.up, saved.gate, saved.hidden);
    backend.products.expert_matmul(saved.hidden, r, weights_.down, saved.output);
    backend.routing.combine(saved.output, r, y);
    return step.training() ? &saved : nullptr;
  }

  void backward(Step& step, const void* context, View h, View dy, View dh) const override {
    const Saved& saved = *static_cast<const Saved*>(context);
    const Arena::Scope scope(step.arena);
    const View dweight = step.scratch_exact(saved.routing.token.rows, 1);
    experts_backward(step, saved, dy, dweight, dh);
    router_backward(step, saved, h, dweight, dh);
  }

 private:
  struct Saved {
    View logits, probs;     // [T, E]
    Routing routing;        //
    View input, output;     // [Pmax, D]
    View up, gate, hidden;  // [Pmax, F]; gate empty unless gated, and then up holds a'(up)
  };

  Routing empty_routing(Step& step) const {
    const std::int64_t tokens = step.shape.tokens();
    const std::int64_t pairs = gating_->bound(step.mode, step.shape);
    Routing r;
    r.offset = step.keep(Dtype::I32, experts_ + 1, 1);
    r.token = step.keep(Dtype::I32, pairs, 1);
    r.weight = step.keep_exact(pairs, 1);
    if (choices_ > 0) {
      r.choice = step.keep(Dtype::I32, tokens, choices_);
      r.row = step.keep(Dtype::I32, tokens, choices_);
    }
    r.expected =
        std::min(pairs, std::int64_t{std::llround(static_cast<double>(tokens) * pairs_per_token_)});
    return r;
  }

  // dy -> dweight [Pmax, 1] and dh (=), through the experts.
  void experts_backward(Step& step, const Saved& saved, View dy, View dweight, View dh) const {
    const Arena::Scope scope(step.arena);
    Backend& backend = step.backend;
    const Routing& r = saved.routing;
    const std::int64_t pairs = r.token.rows;
    const View doutput = step.scratch(pairs, dy.cols);
    const View dinput = step.scratch_exact(pairs, dy.cols);
    const View dhidden = step.scratch(pairs, hidden_);
    const View dup = step.scratch(pairs, hidden_);
    const View dgate = activation_.gated ? step.scratch(pairs, hidden_) : View{};
    // y[token] = sum of weight * output
    backend.routing.combine_backward(saved.output, r, dy, doutput, dweight);
    // output = hidden down
    backend.products.expert_matmul_backward(saved.hidden, doutput, r, weights_.down, dhidden,
                                            false);
    // hidden = a(up) or a(gate) * up
    activate_hidden_backward(step, activation_, saved.up, saved.gate, dhidden, dup, dgate);
    // up = input up, gate = input gate
    backend.products.expert_matmul_backward(saved.input, dup, r, weights_.up, dinput, false);
    if (activation_.gated)
      backend.products.expert_matmul_backward(saved.input, dgate, r, weights_.gate, dinput, true);
    // input = h[token]
    backend.memory.fill(dh, 0);
    backend.routing.gather_backward(dinput, r, dh);
  }

  // dweight and the router losses -> dh (+=), through gates, softmax and the router matrix.
  void router_backward(Step& step, const Saved& saved, View h, View dweight, View dh) const {
    const Arena::Scope scope(step.arena);
    Backend& backend = step.backend;
    const View dprobs = step.scratch_exact(h.rows, experts_);
    const View dlogits = step.scratch_exact(h.rows, experts_);
    backend.memory.fill(dprobs, 0);
    backend.memory.fill(dlogits, 0);
    gating_->backward(step, saved.probs, saved.routing, dweight, dprobs);
    backend.routing.router_losses_backward(saved.logits, saved.probs, groups(group_, step.shape),
                                           saved.routing, balance_loss_ ? step.aux : 0, step.z,
                                           dprobs, dlogits);
    backend.routing.softmax_backward(saved.probs, dprobs, dlogits);
    backend.products.matmul_backward(h, dlogits, router_, dh, true);
  }

  std::int64_t experts_, hidden_, choices_;  // E, F, k
  bool balance_loss_;
  double pairs_per_token_;
  std::string group_;
  HiddenActivation activation_;
  Weight router_;  // [D, E]
  HiddenWeights weights_;
  std::unique_ptr<Gating> gating_;
};

std::string why_illegal(const Fields& fields, const TokenShape& shape) {
  return gating_of(fields).why_illegal(gating_site(fields, ""), shape);
}

std::vector<Operation> operations(const Fields& fields, const TokenShape& shape) {
  const std::int64_t tokens = shape.tokens(), experts = integer(fields, "experts");
  const std::int64_t pairs = expected_pairs(fields, tokens);
  const double rows_bytes = 4 * static_cast<double>(pairs * shape.d_model);  // one [P, D] buffer
  const double tokens_bytes = 4 * static_cast<double>(tokens * shape.d_model);
  std::vector<Operation> result = {
      Matmul{.rows = tokens, .n = experts, .k = shape.d_model},
      Pass{.bytes = 12 * static_cast<double>(tokens * experts)},  // softmax, choice
      Gather{.rows = pairs, .width = shape.d_model},
      Exchange{.bytes = 2 * rows_bytes},  // to the experts and back
  };
  append_hidden(result, pairs, experts, shape.d_model, integer(fields, "d_moe"),
                hidden_activation(text(fields, "activation")).gated);
  result.push_back(Pass{.bytes = rows_bytes + tokens_bytes});  // combine
  return result;
}

std::vector<Field> fields() {
  return {
      {.name = "d_moe", .low = 1, .high = 1 << 20, .help = "hidden width F of one expert"},
      {.name = "experts", .low = 1, .high = 4096, .help = "experts E"},
      {.name = "gating",
       .kind = Field::Kind::Choice,
       .choices = builtin_gatings().names(),
       .help = "who chooses whom"},
      {.name = "capacity",
       .kind = Field::Kind::Number,
       .low = 0,
       .high = 64,
       .choices = {"none"},
       .help = "slots per token c, above 0 (an expert has c G / E of a group); none = dropless"},
      {.name = "group",
       .kind = Field::Kind::Text,
       .fallback = {std::string("sequence")},
       .help = "tokens routed together: sequence, position, batch or tokens:N"},
      activation_field()};
}

}  // namespace

LayerPlugin layers_moe() {
  LayerType type;
  type.name = "moe";
  type.symbol = 'g';
  type.help = "mixture of experts";
  type.fields = fields();
  type.why_illegal = why_illegal;
  type.operations = operations;
  type.causality = [](const Fields& values, const TokenShape& shape) {
    return gating_of(values).causality(gating_site(values, ""), shape);
  };
  type.family = [](const Fields& values) { return gating_of(values).family; };
  return {type, [](const Fields& values, const LayerSite& site, Params& params) {
            return std::unique_ptr<Layer>(std::make_unique<Moe>(values, site, params));
          }};
}

}  // namespace moebius
