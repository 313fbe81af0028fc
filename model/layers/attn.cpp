// Causal multi-head attention. Projections are H*K wide, so D need not be H*K. Positions by a T5
// bucket bias (1910.10683), RoPE (2104.09864), a learned table that Model adds at the embedding, or
// none; optionally Primer's causal depthwise convolution on q, k and v (2109.08668).

#include <array>
#include <cmath>

#include "model/layer.h"

namespace moebius {
namespace {

constexpr std::int64_t kBuckets = 32;  // of the relative bias
constexpr std::int64_t kTaps = 3;      // of the depthwise convolution
constexpr double kRopeBase = 10000;
constexpr std::array<const char*, 3> kProjections = {"q", "k", "v"};

class AttentionLayer : public Layer {
 public:
  AttentionLayer(const Fields& fields, const LayerSite& site, Params& params)
      : heads_(integer(fields, "heads")),
        head_dim_(integer(fields, "head_dim")),
        width_(heads_ * head_dim_),
        rope_(text(fields, "position") == "rope") {
    const double in = 1 / std::sqrt(static_cast<double>(site.d_model));
    for (std::size_t i = 0; i < kProjections.size(); ++i)
      projections_[i] = params.declare({.name = site.name + "." + kProjections[i],
                                        .rows = site.d_model,
                                        .cols = width_,
                                        .init = Init::normal(in)});
    out_ = params.declare(
        {.name = site.name + ".out",
         .rows = width_,
         .cols = site.d_model,
         .init = Init::normal(site.residual_scale / std::sqrt(static_cast<double>(width_)))});
    if (text(fields, "position") == "relative_bias") {
      const double stddev = 1 / std::sqrt(static_cast<double>(heads_ * kBuckets));
      bias_ = params.declare({.name = site.name + ".bias",
                              .rows = kBuckets,
                              .cols = heads_,
                              .role = Role::Vector,
                              .init = Init::normal(stddev)});
    }
    if (integer(fields, "qkv_conv") == 0) return;
    for (std::size_t i = 0; i < kProjections.size(); ++i)
      taps_[i] = params.declare({.name = site.name + "." + kProjections[i] + "_conv",
                                 .rows = kTaps,
                                 .cols = width_,
                                 .role = Role::Vector,
                                 .init = Init::first_row_one()});
  }

  const void* forward(Step& step, View h, View y) const override {
    const Arena::Scope scope(step.arena);
    Backend& backend = step.backend;
    Saved& saved = step.arena.context<Saved>();
    for (std::size_t i = 0; i < projections_.size(); ++i) {
      saved.projected[i] = saved.heads[i] = step.keep(h.rows, width_);
      backend.products.matmul(h, projections_[i], saved.projected[i]);
      if (taps_[i].empty()) continue;
      saved.heads[i] = step.keep(h.rows, width_);
      backend.attention.causal_conv(saved.projected[i], step.shape.seq, taps_[i], saved.heads[i]);
    }
    const auto& [q, k, v] = saved.heads;
    if (rope_) {
      backend.attention.rotate(q, step.shape.seq, heads_, kRopeBase, false);
      backend.attention.rotate(k, step.shape.seq, heads_, kRopeBase, false);
    }
    saved.o = step.keep(h.rows, width_);
    saved.lse = step.keep_exact(h.rows, heads_);
    backend.attention.attend(shape(step), q, k, v, bias_, saved.o, saved.lse);
    backend.products.matmul(saved.o, out_, y);
    return step.training() ? &saved : nullptr;
  }

  void backward(Step& step, const void* context, View h, View dy, View dh) const override {
    const Arena::Scope scope(step.arena);
    Backend& backend = step.backend;
    const Saved& saved = *static_cast<const Saved*>(context);
    // y = o out
    const View do_ = step.scratch(h.rows, width_);
    backend.products.matmul_backward(saved.o, dy, out_, do_, false);
    // o = attention(q, k, v)
    std::array<View, 3> dheads;
    for (View& d : dheads) d = step.scratch(h.rows, width_);
    const auto& [q, k, v] = saved.heads;
    const auto& [dq, dk, dv] = dheads;
    backend.attention.attend_backward(shape(step), q, k, v, bias_, saved.o, saved.lse, do_, dq, dk,
                                      dv);
    if (rope_) {
      backend.attention.rotate(dq, step.shape.seq, heads_, kRopeBase, true);
      backend.attention.rotate(dk, step.shape.seq, heads_, kRopeBase, true);
    }
    // heads = conv(projected), projected = h W; do_ is free again and holds d projected
    for (std::size_t i = 0; i < projections_.size(); ++i) {
      View dprojected = dheads[i];
      if (!taps_[i].empty()) {
        dprojected = do_;
        backend.attention.causal_conv_backward(saved.projected[i], step.shape.seq, taps_[i],
                                               dheads[i], dprojected);
      }
      backend.products.matmul_backward(h, dprojected, projections_[i], dh, i > 0);
    }
  }

 private:
  struct Saved {
    std::array<View, 3> projected;  // q, k, v [T, H*K] before the convolution
    std::array<View, 3> heads;  // q, k, v as attention reads them (the same without convolution)
    View o, lse;                // [T, H*K], [T, H]
  };

  AttentionShape shape(const Step& step) const {
    return {step.shape.batch, step.shape.seq, heads_, head_dim_,
            1 / std::sqrt(static_cast<double>(head_dim_))};
  }

  std::int64_t heads_, head_dim_, width_;  // H, K, H*K
  bool rope_;
  std::array<Weight, 3> projections_;  // [D, H*K]
  std::array<Weight, 3> taps_;         // [3, H*K], or empty
  Weight out_, bias_;                  // [H*K, D]; [32, H], or empty
};

std::string why_illegal(const Fields& fields, const TokenShape&) {
  const std::int64_t taps = integer(fields, "qkv_conv");
  if (taps != 0 && taps != kTaps)
    return fmt::format("qkv_conv: must be 0 (none) or {} taps, not {}", kTaps, taps);
  if (text(fields, "position") == "rope" && integer(fields, "head_dim") % 2 != 0)
    return fmt::format("head_dim: rope rotates pairs, so it must be even, not {}",
                       integer(fields, "head_dim"));
  return "";
}

std::vector<Operation> operations(const Fields& fields, const TokenShape& shape) {
  const std::int64_t heads = integer(fields, "heads"), head_dim = integer(fields, "head_dim");
  const std::int64_t tokens = shape.tokens(), width = heads * head_dim;
  // reads and writes one [T, H*K] fp32 buffer
  const double pass = 2 * 4 * static_cast<double>(tokens * width);
  std::vector<Operation> result;
  for (int i = 0; i < 3; ++i) {
    result.push_back(Matmul{.rows = tokens, .n = width, .k = shape.d_model});
    if (integer(fields, "qkv_conv") != 0)
      result.push_back(Pass{.bytes = pass, .parameters = kTaps * width});
  }
  if (text(fields, "position") == "rope") result.push_back(Pass{.bytes = 2 * pass});
  if (text(fields, "position") == "relative_bias")
    result.push_back(
        Pass{.bytes = static_cast<double>(4 * kBuckets * heads), .parameters = kBuckets * heads});
  result.push_back(
      Attention{.batch = shape.batch, .seq = shape.seq, .heads = heads, .head_dim = head_dim});
  result.push_back(Matmul{.rows = tokens, .n = shape.d_model, .k = width});
  return result;
}

std::vector<Field> fields() {
  return {{.name = "heads",
           .low = 1,
           .high = 4096,
           .help = "attention heads H",
           .scaling = Scaling::Heads},
          {.name = "head_dim",
           .low = 1,
           .high = 1024,
           .help = "head width K; D need not be H*K",
           .scaling = Scaling::HeadWidth},
          {.name = "position",
           .kind = Field::Kind::Choice,
           .choices = {"relative_bias", "rope", "learned", "none"},
           .fallback = {std::string("relative_bias")},
           .help = "how tokens know where they are"},
          {.name = "qkv_conv",
           .low = 0,
           .high = kTaps,
           .fallback = {std::int64_t{0}},
           .help = "taps of a causal depthwise convolution on q, k and v: 0 or 3"}};
}

LayerType attention_type(const Catalog&) {
  LayerType type;
  type.name = "attn";
  type.symbol = 'a';
  type.help = "causal multi-head attention";
  type.fields = fields();
  type.mixes_tokens = true;
  type.why_illegal = why_illegal;
  type.operations = operations;
  type.causality = [](const Fields&, const TokenShape&) { return Causality::Yes; };
  type.wants_learned_positions = [](const Fields& values) {
    return text(values, "position") == "learned";
  };
  return type;
}

}  // namespace

LayerPlugin layers_attn() {
  return {.type = attention_type,
          .make = [](const Fields& values, const LayerSite& site, Params& params,
                     const Catalog&) -> std::unique_ptr<Layer> {
            return std::make_unique<AttentionLayer>(values, site, params);
          }};
}

}  // namespace moebius
