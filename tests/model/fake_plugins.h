#pragma once
#include "tests/model/model_support.h"
#include "tests/support/fake_gatings.h"

namespace moebius::testing {

// y = (h A * h B) C: a sub-layer type of its own, with a field of its own.
class Bilinear : public Layer {
 public:
  Bilinear(const Fields& fields, const LayerSite& site, Params& params)
      : width_(integer(fields, "d_inner")) {
    const auto declare = [&](const char* name, std::int64_t rows, std::int64_t cols) {
      return params.declare(
          {.name = site.name + name, .rows = rows, .cols = cols, .init = Init::normal(0.5)});
    };
    a_ = declare(".a", site.d_model, width_);
    b_ = declare(".b", site.d_model, width_);
    c_ = declare(".c", width_, site.d_model);
  }

  const void* forward(Step& step, View h, View y) const override {
    Saved& saved = step.arena.context<Saved>();
    saved = {step.keep(h.rows, width_), step.keep(h.rows, width_), step.keep(h.rows, width_)};
    step.backend.products.matmul(h, a_, saved.a);
    step.backend.products.matmul(h, b_, saved.b);
    step.backend.elementwise.multiply(saved.a, saved.b, saved.product);
    step.backend.products.matmul(saved.product, c_, y);
    return step.training() ? &saved : nullptr;
  }

  void backward(Step& step, const void* context, View h, View dy, View dh) const override {
    const Arena::Scope scope(step.arena);
    const Saved& saved = *static_cast<const Saved*>(context);
    const View dproduct = step.scratch(h.rows, width_), d = step.scratch(h.rows, width_);
    step.backend.products.matmul_backward(saved.product, dy, c_, dproduct, false);
    step.backend.elementwise.multiply(dproduct, saved.b, d);
    step.backend.products.matmul_backward(h, d, a_, dh, false);
    step.backend.elementwise.multiply(dproduct, saved.a, d);
    step.backend.products.matmul_backward(h, d, b_, dh, true);
  }

 private:
  struct Saved {
    View a, b, product;  // [T, F]
  };
  std::int64_t width_;  // F
  Weight a_, b_, c_;    // [D, F], [D, F], [F, D]
};

inline LayerType bilinear_type(const Catalog&) {
  LayerType type;
  type.name = "bilinear";
  type.symbol = 'b';
  type.help = "for tests";
  type.fields = {{.name = "d_inner",
                  .low = 1,
                  .high = 1 << 20,
                  .help = "hidden width F",
                  .scaling = Scaling::Width,
                  .iso_flops = true}};
  type.why_illegal = [](const Fields& fields, const TokenShape&) -> std::string {
    return integer(fields, "d_inner") % 7 != 0 ? "" : "d_inner: no multiple of 7";
  };
  type.operations = [](const Fields& fields, const TokenShape& shape) -> std::vector<Operation> {
    const Matmul in{.rows = shape.tokens(), .n = integer(fields, "d_inner"), .k = shape.d_model};
    const Matmul out{.rows = in.rows, .n = in.k, .k = in.n};
    return {in, in, Pass{.bytes = 12 * static_cast<double>(in.rows * in.n)}, out};
  };
  type.causality = [](const Fields&, const TokenShape&) { return Causality::Yes; };
  return type;
}

// The built-in plug-ins, the layer above, and a gating by token id.
inline const Catalog& fake_catalog() {
  static const Catalog catalog([](Catalog& all) {
    all.layers.add("bilinear",
                   {.type = bilinear_type,
                    .make = [](const Fields& fields, const LayerSite& site, Params& params,
                               const Catalog&) -> std::unique_ptr<Layer> {
                      return std::make_unique<Bilinear>(fields, site, params);
                    }});
    all.gatings.add("hash",
                    testing_support::host_gating(testing_support::by_own_id, Causality::Yes));
  });
  return catalog;
}

}  // namespace moebius::testing
