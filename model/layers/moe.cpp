// Mixture of experts: a gating (model/gatings) scores the experts and decides which of them sees
// which token, experts are feed-forward networks over the gathered rows, and their outputs return
// to their tokens weighted by the gates.

#include <algorithm>
#include <cmath>

#include "model/catalog.h"
#include "model/layers/activation.h"

namespace moebius {
namespace {

const GatingPlugin& gating_of(const Fields& fields, const Catalog& catalog) {
  return catalog.gatings.get(text(fields, "gating"));
}

// c, or -1 for "none".
double capacity_of(const Fields& fields) {
  const bool dropless = std::holds_alternative<std::string>(fields.at("capacity"));
  return dropless ? -1 : number(fields, "capacity");
}

GatingSite gating_site(const Fields& fields, const std::string& name, std::int64_t d_model) {
  return {name, d_model, integer(fields, "experts"), capacity_of(fields), text(fields, "group")};
}

class Moe : public Layer {
 public:
  Moe(const Fields& fields, const LayerSite& site, Params& params, const GatingPlugin& gating)
      : experts_(integer(fields, "experts")),
        hidden_(integer(fields, "d_moe")),
        choices_(gating.choices),
        pairs_per_token_(gating.pairs_per_token(capacity_of(fields))),
        activation_(hidden_activation(text(fields, "activation"))) {
    gating_ = gating.make(gating_site(fields, site.name, site.d_model), params);
    weights_ = declare_hidden(site, experts_, hidden_, activation_.gated, params);
    gating_->declare_state(params);
  }

  const void* forward(Step& step, View h, View y) const override {
    const Arena::Scope scope(step.arena);
    Backend& backend = step.backend;
    Saved& saved = step.arena.context<Saved>();
    saved.routing = empty_routing(step);
    saved.gating = gating_->route(step, h, saved.routing);
    const Routing& r = saved.routing;
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
    gating_->backward(step, saved.gating, h, saved.routing, dweight, dh);
  }

  void end_step(Backend& backend) const override { gating_->end_step(backend); }

 private:
  struct Saved {
    const void* gating;  // what its backward reads
    Routing routing;
    View input, output;     // [Pmax, D]
    View up, gate, hidden;  // [Pmax, F]; gated: gate and up as computed; else gate is empty, up
                            // holds a'(up)
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

  std::int64_t experts_, hidden_, choices_;  // E, F, k
  double pairs_per_token_;
  HiddenActivation activation_;
  HiddenWeights weights_;
  std::unique_ptr<Gating> gating_;
};

std::vector<Operation> operations(const Fields& fields, const TokenShape& shape,
                                  const GatingPlugin& gating) {
  const std::int64_t tokens = shape.tokens(), experts = integer(fields, "experts");
  const std::int64_t pairs =
      std::llround(static_cast<double>(tokens) * gating.pairs_per_token(capacity_of(fields)));
  const double rows_bytes = 4 * static_cast<double>(pairs * shape.d_model);  // one [P, D] buffer
  const double tokens_bytes = 4 * static_cast<double>(tokens * shape.d_model);
  std::vector<Operation> result = gating.operations(gating_site(fields, "", shape.d_model), shape);
  result.push_back(Gather{.rows = pairs, .width = shape.d_model});
  result.push_back(Exchange{.bytes = 2 * rows_bytes});  // to the experts and back
  append_hidden(result, pairs, experts, shape.d_model, integer(fields, "d_moe"),
                hidden_activation(text(fields, "activation")).gated);
  result.push_back(Pass{.bytes = rows_bytes + tokens_bytes});  // combine
  return result;
}

std::vector<Field> fields(const Catalog& catalog) {
  return {
      {.name = "d_moe",
       .low = 1,
       .high = 1 << 20,
       .help = "hidden width F of one expert",
       .scaling = Scaling::Width,
       .iso_flops = true},
      {.name = "experts", .low = 1, .high = 4096, .help = "experts E", .scaling = Scaling::Experts},
      {.name = "gating",
       .kind = Field::Kind::Choice,
       .choices = catalog.gatings.names(),
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

LayerType moe_type(const Catalog& catalog) {
  const auto gating = [&catalog](const Fields& values) -> const GatingPlugin& {
    return gating_of(values, catalog);
  };
  LayerType type;
  type.name = "moe";
  type.symbol = 'g';
  type.help = "mixture of experts";
  type.fields = fields(catalog);
  type.routes = true;
  type.why_illegal = [gating](const Fields& values, const TokenShape& shape) {
    return gating(values).why_illegal(gating_site(values, "", shape.d_model), shape);
  };
  type.operations = [gating](const Fields& values, const TokenShape& shape) {
    return operations(values, shape, gating(values));
  };
  type.causality = [gating](const Fields& values, const TokenShape& shape) {
    return gating(values).causality(gating_site(values, "", shape.d_model), shape);
  };
  type.needs_whole_batch = [](const Fields& values) -> std::string {
    return spans_batch(text(values, "group")) ? "group" : "";
  };
  type.rate_group = [gating](const Fields& values) { return gating(values).rate_group; };
  for (const auto& [name, plugin] : catalog.gatings)
    type.rate_groups.push_back(plugin.rate_group.name);
  return type;
}

}  // namespace

LayerPlugin layers_moe() {
  return {.type = moe_type,
          .make = [](const Fields& values, const LayerSite& site, Params& params,
                     const Catalog& catalog) -> std::unique_ptr<Layer> {
            return std::make_unique<Moe>(values, site, params, gating_of(values, catalog));
          }};
}

}  // namespace moebius
