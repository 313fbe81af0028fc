#pragma once
#include <cstddef>
#include <memory>
#include <vector>

#include "model/backend.h"

namespace moebius {

// All families but memory for a back-end that lacks some: each call copies what it reads to the
// host, runs `reference` there and copies back what it wrote. It is slow, and right for any memory:
// it looks into no view of the back-end, but goes through Memory::read and write. Operands in bf16
// are computed in f32 and rounded where they are written back.
class OnReference final : public ElementwiseKernels,
                          public ProductKernels,
                          public AttentionKernels,
                          public RoutingKernels,
                          public LossKernels,
                          public UpdateKernels {
 public:
  OnReference(Memory& device, Dtype dtype);
  ~OnReference() override;
  void bind(const Params& params, GradientSink& gradients);
  static std::int64_t bytes(const Params& params);  // of weights and gradients on the host

  void embed(View token, std::int64_t seq, Weight table, Weight positions, View x) override;
  void embed_backward(View token, std::int64_t seq, View dx, Weight table,
                      Weight positions) override;
  void rms_norm(View x, View residual, Weight gain, View y, View rstd) override;
  void rms_norm_backward(View x, Weight gain, View rstd, View dy, View dx, View rounded) override;
  void multiply(View x, View y, View product) override;
  void activate(Activation a, View up, View y, View slope) override;
  void glu(Activation a, View up, View gate, View y) override;
  void glu_backward(Activation a, View up, View gate, View dy, View dup, View dgate) override;

  void matmul(View x, Weight w, View y) override;
  void matmul_transposed(View y, Weight w, View x) override;
  void matmul_backward(View x, View dy, Weight w, View dx, bool accumulate) override;
  void expert_matmul(View x, const Routing& r, Weight w, View y) override;
  void expert_matmul_backward(View x, View dy, const Routing& r, Weight w, View dx,
                              bool accumulate) override;

  void rotate(View x, std::int64_t seq, std::int64_t heads, double base, bool inverse) override;
  void causal_conv(View x, std::int64_t seq, Weight taps, View y) override;
  void causal_conv_backward(View x, std::int64_t seq, Weight taps, View dy, View dx) override;
  void attend(const AttentionShape& shape, View q, View k, View v, Weight bias, View o,
              View lse) override;
  void attend_backward(const AttentionShape& shape, View q, View k, View v, Weight bias, View o,
                       View lse, View do_, View dq, View dk, View dv) override;

  void softmax(View logits, View probs) override;
  void softmax_backward(View probs, View dprobs, View dlogits) override;
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
  void gather(View x, const Routing& r, View y) override;
  void gather_backward(View dy, const Routing& r, View dx) override;
  void combine(View y, const Routing& r, View out) override;
  void combine_backward(View y, const Routing& r, View dout, View dy, View dweight) override;

  void cross_entropy(View h, Weight table, View target, double scale, View loss, View dh) override;

  void squared_norm(Weight w, View sum) override;
  void apply(Weight w, const Update& update, View norm2, double clip) override;

 private:
  class Call;  // what one kernel reads and writes, on the host
  struct Host;
  std::unique_ptr<Host> host_;
};

}  // namespace moebius
