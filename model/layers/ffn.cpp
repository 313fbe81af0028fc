// Dense feed-forward sub-layer: y = a(h up) down, gated or not.

#include "model/layer.h"
#include "model/layers/activation.h"

namespace moebius {
namespace {

class Ffn : public Layer {
 public:
  Ffn(const Fields& fields, const LayerSite& site, Params& params)
      : hidden_(integer(fields, "d_ffn")),
        activation_(hidden_activation(text(fields, "activation"))),
        weights_(declare_hidden(site, 1, hidden_, activation_.gated, params)) {}

  const void* forward(Step& step, View h, View y) const override {
    const Arena::Scope scope(step.arena);
    Backend& backend = step.backend;
    Saved& saved = step.arena.context<Saved>();
    saved.up = step.keep(h.rows, hidden_);
    saved.hidden = step.keep(h.rows, hidden_);
    backend.products.matmul(h, weights_.up, saved.up);
    if (activation_.gated) {
      saved.gate = step.keep(h.rows, hidden_);
      backend.products.matmul(h, weights_.gate, saved.gate);
    }
    activate_hidden(step, activation_, saved.up, saved.gate, saved.hidden);
    backend.products.matmul(saved.hidden, weights_.down, y);
    return step.training() ? &saved : nullptr;
  }

  void backward(Step& step, const void* context, View h, View dy, View dh) const override {
    const Arena::Scope scope(step.arena);
    Backend& backend = step.backend;
    const Saved& saved = *static_cast<const Saved*>(context);
    const View dhidden = step.scratch(h.rows, hidden_);
    const View dup = step.scratch(h.rows, hidden_);
    const View dgate = activation_.gated ? step.scratch(h.rows, hidden_) : View{};
    // y = hidden down
    backend.products.matmul_backward(saved.hidden, dy, weights_.down, dhidden, false);
    // hidden = a(up) or a(gate) * up
    activate_hidden_backward(step, activation_, saved.up, saved.gate, dhidden, dup, dgate);
    // up = h up, gate = h gate
    backend.products.matmul_backward(h, dup, weights_.up, dh, false);
    if (activation_.gated) backend.products.matmul_backward(h, dgate, weights_.gate, dh, true);
  }

 private:
  struct Saved {
    View up, gate,
        hidden;  // [T, F]; gated: gate and up as computed; else gate is empty, up holds a'(up)
  };

  std::int64_t hidden_;  // F
  HiddenActivation activation_;
  HiddenWeights weights_;
};

std::vector<Operation> operations(const Fields& fields, const TokenShape& shape) {
  std::vector<Operation> result;
  append_hidden(result, shape.tokens(), 1, shape.d_model, integer(fields, "d_ffn"),
                hidden_activation(text(fields, "activation")).gated);
  return result;
}

LayerType ffn_type(const Catalog&) {
  LayerType type;
  type.name = "ffn";
  type.symbol = 'f';
  type.help = "dense feed-forward network";
  type.fields = {{.name = "d_ffn",
                  .low = 1,
                  .high = 1 << 20,
                  .help = "hidden width F",
                  .scaling = Scaling::Width,
                  .iso_flops = true},
                 activation_field()};
  type.why_illegal = [](const Fields&, const TokenShape&) { return std::string(); };
  type.operations = operations;
  type.causality = [](const Fields&, const TokenShape&) { return Causality::Yes; };
  return type;
}

}  // namespace

LayerPlugin layers_ffn() {
  return {.type = ffn_type,
          .make = [](const Fields& fields, const LayerSite& site, Params& params, const Catalog&)
              -> std::unique_ptr<Layer> { return std::make_unique<Ffn>(fields, site, params); }};
}

}  // namespace moebius
