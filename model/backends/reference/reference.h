#pragma once
#include <cstdint>
#include <memory>
#include <utility>
#include <vector>

#include "model/backend.h"
#include "model/backends/reference/matrix.h"
#include "model/backends/shared.h"

namespace moebius::reference {

// The executable definition of all families: naive loops, one thread, f64 or f32 storage, double
// arithmetic. A family of kernels is one file: formulas, then overrides that choose the type.
class Reference final : public AllFamilies {
 public:
  explicit Reference(Dtype dtype, std::shared_ptr<ProductLog> log = std::make_shared<ProductLog>())
      : dtype_(dtype), log_(std::move(log)) {}

  // memory.cpp
  std::byte* allocate(std::int64_t bytes) override;
  void write(View to, const void* from) override;
  void read(View from, void* to) override;
  void initialise(View value, const ParamSlot& slot, std::uint64_t key) override;
  void bind(const Params& params, GradientSink& gradients) override;
  void weights_changed() override { log_->next_step(); }

  // elementwise.cpp
  void fill(View y, double value) override;
  void embed(View token, std::int64_t seq, Weight table, Weight positions, View x) override;
  void embed_backward(View token, std::int64_t seq, View dx, Weight table,
                      Weight positions) override;
  void multiply(View x, View y, View product) override;
  void activate(Activation a, View up, View y, View slope) override;
  void glu(Activation a, View up, View gate, View y) override;
  void glu_backward(Activation a, View up, View gate, View dy, View dup, View dgate) override;

  // norm.cpp
  void rms_norm(View x, View residual, Weight gain, View y, View rstd) override;
  void rms_norm_backward(View x, Weight gain, View rstd, View dy, View dx, View rounded) override;
  void softmax(View logits, View probs) override;
  void softmax_backward(View probs, View dprobs, View dlogits) override;

  // matmul.cpp
  void matmul(View x, Weight w, View y) override;
  void matmul_transposed(View y, Weight w, View x) override;
  void matmul_backward(View x, View dy, Weight w, View dx, bool accumulate) override;
  void expert_matmul(View x, const Routing& r, Weight w, View y) override;
  void expert_matmul_backward(View x, View dy, const Routing& r, Weight w, View dx,
                              bool accumulate) override;

  // attention.cpp
  void rotate(View x, std::int64_t seq, std::int64_t heads, double base, bool inverse) override;
  void causal_conv(View x, std::int64_t seq, Weight taps, View y) override;
  void causal_conv_backward(View x, std::int64_t seq, Weight taps, View dy, View dx) override;
  void attend(const AttentionShape& shape, View q, View k, View v, Weight bias, View o,
              View lse) override;
  void attend_backward(const AttentionShape& shape, View q, View k, View v, Weight bias, View o,
                       View lse, View do_, View dq, View dk, View dv) override;

  // routing.cpp
  void choose_experts(View probs, const Groups& groups, std::int64_t capacity, bool renormalise,
                      Routing& r) override;
  void choose_tokens(View probs, const Groups& groups, std::int64_t capacity, Weight lowest,
                     Routing& r) override;
  void follow_lowest(Weight threshold, Weight lowest, double keep) override;
  void choose_above(View probs, Weight threshold, Routing& r) override;
  void choice_backward(View probs, const Routing& r, bool renormalise, View dweight,
                       View dprobs) override;

  // dispatch.cpp
  void gather(View x, const Routing& r, View y) override;
  void gather_backward(View dy, const Routing& r, View dx) override;
  void combine(View y, const Routing& r, View out) override;
  void combine_backward(View y, const Routing& r, View dout, View dy, View dweight) override;

  // loss.cpp, optimizer.cpp
  void router_losses(View logits, View probs, const Groups& groups, const Routing& r,
                     View statistics) override;
  void router_losses_backward(View logits, View probs, const Groups& groups, const Routing& r,
                              double aux, double z, View dprobs, View dlogits) override;
  void cross_entropy(View h, Weight table, View target, double scale, View loss, View dh) override;
  void squared_norm(Weight w, View sum) override;
  void apply(Weight w, const Update& update, View norm2, double clip) override;

 private:
  // Calls kernel.operator()<T>() with the element type of `dtype`.
  template <class Kernel>
  static void typed(Dtype dtype, Kernel&& kernel) {
    if (dtype == Dtype::F64) return kernel.template operator()<double>();
    MOEBIUS_CHECK(dtype == Dtype::F32, "[reference] no kernels for {}", dtype_text(dtype));
    kernel.template operator()<float>();
  }
  template <class Kernel>
  void typed(Kernel&& kernel) const {
    typed(dtype_, kernel);
  }

  View value(Weight w) const { return w.empty() ? View{} : params_->value(w); }
  // Where a contribution to the gradient of w goes: kernels add to it. Asks the sink; zero where
  // the contribution is the first.
  View gradient(Weight w);
  const ParamSlot& slot(Weight w) const { return params_->slot(w); }
  // write(dW) adds to what it gets: the gradient of w, or zeros that then update w.
  template <class Write>
  void product_gradient(Weight w, const Write& write);
  void add_squares(View g, View sum) const;
  void step(Weight w, View g, const Update& update, double factor) const;

  struct Free {
    void operator()(std::byte* memory) const;
  };
  Dtype dtype_;
  const Params* params_ = nullptr;
  GradientSink* gradients_ = nullptr;
  std::vector<std::unique_ptr<std::byte[], Free>> memory_;
  std::shared_ptr<ProductLog> log_;
};

}  // namespace moebius::reference
