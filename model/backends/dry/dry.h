#pragma once
#include <cstdint>
#include <vector>

#include "model/backend.h"
#include "model/backends/shared.h"

namespace moebius::dry {

// Computes nothing and owns no memory: what a step would multiply, for the plan. Views must come
// from a dry arena or from allocate(), whose addresses are never touched. Routed pairs are those
// that the gating expects.
class Dry final : public Backend {
 public:
  Dry(Dtype dtype, Dtype operand) : dtype_(dtype), operand_(operand) {}
  Dtype dtype() const override { return dtype_; }
  Dtype operand() const override { return operand_; }
  std::vector<Operation> products() const override { return log_.list(); }

  std::byte* allocate(std::int64_t bytes) override;
  void write(View, const void*) override {}
  void read(View from, void* to) override;  // zeros
  void bind(const Params& params) override { params_ = &params; }
  void weights_changed() override { log_.next_step(); }
  void clear_gradients() override {}
  void initialise(Weight, std::uint64_t) override {}

  void fill(View, double) override {}
  void embed(View, std::int64_t, Weight, Weight, View) override {}
  void embed_backward(View, std::int64_t, View, Weight, Weight) override {}
  void rms_norm(View, View, Weight, View, View) override {}
  void rms_norm_backward(View, Weight, View, View, View, View) override {}
  void multiply(View, View, View) override {}
  void activate(Activation, View, View, View) override {}
  void glu(Activation, View, View, View) override {}
  void glu_backward(Activation, View, View, View, View, View) override {}

  void matmul(View x, Weight w, View) override { dense(x, w); }
  void matmul_transposed(View y, Weight w, View) override { dense(y, w); }
  void matmul_backward(View x, View dy, Weight w, View, bool) override {
    dense(dy, w);
    dense(x, w);
  }
  void expert_matmul(View, const Routing& r, Weight w, View) override { experts(r, w); }
  void expert_matmul_backward(View, View, const Routing& r, Weight w, View, bool) override {
    experts(r, w);
    experts(r, w);
  }

  void rotate(View, std::int64_t, std::int64_t, double, bool) override {}
  void causal_conv(View, std::int64_t, Weight, View) override {}
  void causal_conv_backward(View, std::int64_t, Weight, View, View) override {}
  void attention(const AttentionShape& shape, View, View, View, Weight, View, View) override {
    log_.attention(shape, 1);
  }
  void attention_backward(const AttentionShape& shape, View, View, View, Weight, View, View, View,
                          View, View, View) override {
    log_.attention(shape, 2);
  }

  void softmax(View, View) override {}
  void softmax_backward(View, View, View) override {}
  void choose_experts(View, const Groups&, std::int64_t, bool, Routing&) override {}
  void choose_tokens(View, const Groups&, std::int64_t, Weight, double, Routing&) override {}
  void choose_above(View, Weight, Routing&) override {}
  void choice_backward(View, const Routing&, bool, View, View) override {}
  void router_losses(View, View, const Groups&, const Routing&, View) override {}
  void router_losses_backward(View, View, const Groups&, const Routing&, double, double, View,
                              View) override {}
  void gather(View, const Routing&, View) override {}
  void gather_backward(View, const Routing&, View) override {}
  void combine(View, const Routing&, View) override {}
  void combine_backward(View, const Routing&, View, View, View) override {}

  void cross_entropy(View h, Weight table, View, double, View, View dh) override;

  void squared_norm(Weight, View) override {}
  void update(Weight, const Update&, View, double) override {}
  void update_in_backward(Weight, const Update&, View) override {}

 private:
  void dense(View rows, Weight w) { log_.dense(rows.rows, params_->slot(w)); }
  void experts(const Routing& r, Weight w) { log_.experts(r.expected, params_->slot(w)); }

  Dtype dtype_, operand_;
  const Params* params_ = nullptr;
  std::int64_t allocated_ = 0;
  ProductLog log_;
};

}  // namespace moebius::dry
