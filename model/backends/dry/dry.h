#pragma once
#include <cstdint>
#include <memory>
#include <utility>

#include "model/backend.h"
#include "model/backends/shared.h"

namespace moebius::dry {

// Computes nothing and owns no memory: what a step would multiply, and which gradients it would
// contribute to, for the plan. Views must come from a dry arena or from allocate(), whose addresses
// are never touched. Routed pairs are those that the gating expects.
class Dry final : public AllFamilies {
 public:
  explicit Dry(std::shared_ptr<ProductLog> log) : log_(std::move(log)) {}

  std::byte* allocate(std::int64_t bytes) override;
  void write(View, const void*) override {}
  void read(View from, void* to) override;  // zeros
  void fill(View, double) override {}
  void initialise(View, const ParamSlot&, std::uint64_t) override {}
  void bind(const Params& params, GradientSink& gradients) override;
  void weights_changed() override { log_->next_step(); }

  void embed(View, std::int64_t, Weight, Weight, View) override {}
  void embed_backward(View, std::int64_t, View, Weight table, Weight positions) override {
    contribute(table);
    contribute(positions);
  }
  void rms_norm(View, View, Weight, View, View) override {}
  void rms_norm_backward(View, Weight gain, View, View, View, View) override { contribute(gain); }
  void multiply(View, View, View) override {}
  void activate(Activation, View, View, View) override {}
  void glu(Activation, View, View, View) override {}
  void glu_backward(Activation, View, View, View, View, View) override {}

  void matmul(View x, Weight w, View) override { dense(x, w); }
  void matmul_transposed(View y, Weight w, View) override { dense(y, w); }
  void matmul_backward(View x, View dy, Weight w, View, bool) override {
    dense(dy, w);
    dense(x, w);
    contribute(w, Producer::Product);
  }
  void expert_matmul(View, const Routing& r, Weight w, View) override { experts(r, w); }
  void expert_matmul_backward(View, View, const Routing& r, Weight w, View, bool) override {
    experts(r, w);
    experts(r, w);
    contribute(w, Producer::Product);
  }

  void rotate(View, std::int64_t, std::int64_t, double, bool) override {}
  void causal_conv(View, std::int64_t, Weight, View) override {}
  void causal_conv_backward(View, std::int64_t, Weight taps, View, View) override {
    contribute(taps);
  }
  void attend(const AttentionShape& shape, View, View, View, Weight, View, View) override {
    log_->attention(shape, 1);
  }
  void attend_backward(const AttentionShape& shape, View, View, View, Weight bias, View, View, View,
                       View, View, View) override {
    log_->attention(shape, 2);
    contribute(bias);
  }

  void softmax(View, View) override {}
  void softmax_backward(View, View, View) override {}
  void choose_experts(View, const Groups&, std::int64_t, bool, Routing&) override {}
  void choose_tokens(View, const Groups&, std::int64_t, Weight, Routing&) override {}
  void follow_lowest(Weight, Weight, double) override {}
  void choose_above(View, Weight, Routing&) override {}
  void choice_backward(View, const Routing&, bool, View, View) override {}
  void router_losses(View, View, const Groups&, const Routing&, View) override {}
  void router_losses_backward(View, View, const Groups&, const Routing&, double, double, View,
                              View) override {}
  void gather(View, const Routing&, View) override {}
  void gather_backward(View, const Routing&, View) override {}
  void combine(View, const Routing&, View) override {}
  void combine_backward(View, const Routing&, View, View, View) override {}

  void cross_entropy(View h, Weight table, View target, double scale, View loss, View dh) override;

  void squared_norm(Weight, View) override {}
  void apply(Weight, const Update&, View, double) override {}

 private:
  void dense(View rows, Weight w) { log_->dense(rows.rows, params_->slot(w)); }
  void experts(const Routing& r, Weight w) { log_->experts(r.expected, params_->slot(w)); }
  void contribute(Weight w, Producer by = Producer::Other) {
    if (!w.empty()) gradients_->next(w, by);
  }

  const Params* params_ = nullptr;
  GradientSink* gradients_ = nullptr;
  std::int64_t allocated_ = 0;
  std::shared_ptr<ProductLog> log_;
};

}  // namespace moebius::dry
