// y = conv(h up) down: neighbours of a sequence mixed by a causal depthwise convolution of three
// taps.

#include <cmath>

#include "model/layer.h"

namespace moebius {
namespace {

class Shift : public Layer {
 public:
  Shift(const Fields& fields, const LayerSite& site, Params& params)
      : width_(integer(fields, "d_shift")) {
    up_ = params.declare({.name = site.name + ".up",
                          .rows = site.d_model,
                          .cols = width_,
                          .init = Init::normal(1 / std::sqrt(static_cast<double>(site.d_model)))});
    taps_ = params.declare({.name = site.name + ".taps",
                            .rows = 3,
                            .cols = width_,
                            .role = Role::Vector,
                            .init = Init::normal(number(fields, "spread"))});
    down_ = params.declare(
        {.name = site.name + ".down",
         .rows = width_,
         .cols = site.d_model,
         .init = Init::normal(site.residual_scale / std::sqrt(static_cast<double>(width_)))});
  }

  const void* forward(Step& step, View h, View y) const override {
    const Arena::Scope scope(step.arena);
    Saved& saved = step.arena.context<Saved>();
    saved.up = step.keep(h.rows, width_);
    saved.mixed = step.keep(h.rows, width_);
    step.backend.products.matmul(h, up_, saved.up);
    step.backend.attention.causal_conv(saved.up, step.shape.seq, taps_, saved.mixed);
    step.backend.products.matmul(saved.mixed, down_, y);
    return step.training() ? &saved : nullptr;
  }

  void backward(Step& step, const void* context, View h, View dy, View dh) const override {
    const Arena::Scope scope(step.arena);
    const Saved& saved = *static_cast<const Saved*>(context);
    const View dmixed = step.scratch(h.rows, width_), dup = step.scratch(h.rows, width_);
    step.backend.products.matmul_backward(saved.mixed, dy, down_, dmixed, false);
    step.backend.attention.causal_conv_backward(saved.up, step.shape.seq, taps_, dmixed, dup);
    step.backend.products.matmul_backward(h, dup, up_, dh, false);
  }

 private:
  struct Saved {
    View up, mixed;  // [T, W] before and after the convolution
  };

  std::int64_t width_;       // W
  Weight up_, taps_, down_;  // [D, W], [3, W], [W, D]
};

std::vector<Operation> operations(const Fields& fields, const TokenShape& shape) {
  const std::int64_t tokens = shape.tokens(), width = integer(fields, "d_shift");
  return {Matmul{.rows = tokens, .n = width, .k = shape.d_model},
          Pass{.bytes = 8 * static_cast<double>(tokens * width)},
          Matmul{.rows = tokens, .n = shape.d_model, .k = width}};
}

LayerType shift_type(const Catalog&) {
  LayerType type;
  type.name = "shift";
  type.symbol = 's';
  type.help = "causal convolution of neighbours";
  type.fields = {{.name = "d_shift",
                  .low = 1,
                  .high = 1 << 16,
                  .help = "width W of what is mixed",
                  .scaling = Scaling::Width,
                  .iso_flops = true},
                 {.name = "spread",
                  .kind = Field::Kind::Number,
                  .low = 0,
                  .high = 2,
                  .fallback = {0.5},
                  .help = "standard deviation of the taps at first"}};
  type.mixes_tokens = true;
  type.why_illegal = [](const Fields& fields, const TokenShape& shape) {
    const std::int64_t width = integer(fields, "d_shift");
    return width <= 8 * shape.d_model
               ? std::string()
               : fmt::format("d_shift: at most 8 D = {}, not {}", 8 * shape.d_model, width);
  };
  type.operations = operations;
  type.causality = [](const Fields&, const TokenShape&) { return Causality::Yes; };
  return type;
}

}  // namespace

LayerPlugin layers_shift() {
  return {.type = shift_type,
          .make = [](const Fields& fields, const LayerSite& site, Params& params, const Catalog&)
              -> std::unique_ptr<Layer> { return std::make_unique<Shift>(fields, site, params); }};
}

}  // namespace moebius
