#pragma once
#include <cstdint>
#include <optional>
#include <span>
#include <vector>

#include "model/backend.h"
#include "model/backends/cpu/gemm.h"
#include "model/backends/cpu/matrix.h"
#include "model/backends/cpu/parallel.h"
#include "model/backends/cpu/rotary.h"
#include "model/backends/shared.h"

namespace moebius::cpu {

// The fast back-end: products in f32 or bf16 with f32 sums (gemm.h) and vectorised passes over
// memory, compiled for every instruction level (level.h). Each family of kernels is one file.
class Cpu final : public AllFamilies {
 public:
  Cpu(Dtype operand, int threads);
  ~Cpu() override;

  // memory.cpp
  std::byte* allocate(std::int64_t bytes) override;
  void write(View to, const void* from) override;
  void read(View from, void* to) override;
  void bind(const Params& params, GradientSink& gradients) override;
  void initialise(View value, const ParamSlot& slot, std::uint64_t key) override;

  // elementwise.cpp
  void fill(View y, double value) override;
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

  // position.cpp
  void rotate(View x, std::int64_t seq, std::int64_t heads, double base, bool inverse) override;
  void causal_conv(View x, std::int64_t seq, Weight taps, View y) override;
  void causal_conv_backward(View x, std::int64_t seq, Weight taps, View dy, View dx) override;

  // attention.cpp
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
  void router_losses(View logits, View probs, const Groups& groups, const Routing& r,
                     View statistics) override;
  void router_losses_backward(View logits, View probs, const Groups& groups, const Routing& r,
                              double aux, double z, View dprobs, View dlogits) override;

  // dispatch.cpp
  void embed(View token, std::int64_t seq, Weight table, Weight positions, View x) override;
  void embed_backward(View token, std::int64_t seq, View dx, Weight table,
                      Weight positions) override;
  void gather(View x, const Routing& r, View y) override;
  void gather_backward(View dy, const Routing& r, View dx) override;
  void combine(View y, const Routing& r, View out) override;
  void combine_backward(View y, const Routing& r, View dout, View dy, View dweight) override;

  // loss.cpp
  void cross_entropy(View h, Weight table, View target, double scale, View loss, View dh) override;

  // optimizer.cpp
  void squared_norm(Weight w, View sum) override;
  void apply(Weight w, const Update& update, View norm2, double clip) override;

 private:
  // Empty weights become empty matrices.
  Floats value(Weight w) const { return w.empty() ? Floats{} : Floats{params_->value(w)}; }
  Contribution contribution(Weight w, Producer by);
  Floats gradient(Weight w);  // to add a contribution to: zero where it is the first
  const ParamSlot& slot(Weight w) const { return params_->slot(w); }
  Dtype operand_of(Weight w) const;
  void product(const Team& team, const Factor& a, const Factor& b, const View& c,
               const GemmOptions& options);
  template <class RowsOf>
  void backward(View x, View dy, Weight w, View dx, bool accumulate, const RowsOf& rows_of);
  const RotaryTable& rotary(std::int64_t seq, std::int64_t head_dim, double base);
  const std::vector<std::int32_t>& buckets(std::int64_t seq);  // relative bucket by distance

  const Dtype operand_;
  Crew crew_;
  const Params* params_ = nullptr;
  GradientSink* gradients_ = nullptr;
  std::vector<double> squares_;  // by matrix of a slot: the squared norm of its gradient
  std::vector<std::optional<double>> norms_;  // by slot: their sum, if known
  std::vector<std::span<std::byte>> memory_;
  std::vector<RotaryTable> rotary_;
  std::vector<std::int32_t> buckets_;
};

}  // namespace moebius::cpu
