// Cleared gradients: whatever their memory holds, the sum of the contributions since is found there
// once squared_norm has seen the weight.

#include <gtest/gtest.h>

#include <cmath>

#include "tests/model/cpu_support.h"

namespace moebius {
namespace {

using testing_support::expect_agreement;
using testing_support::Kernels;
using testing_support::Lab;

// Weights of every kind that takes gradients.
struct Weights {
  Weight dense, router, experts, tied, positions, table, gain, taps, bias;
};
constexpr std::int64_t kBatch = 20, kSeq = 30, kTokens = kBatch * kSeq;  // two chunks of the loss
constexpr std::int64_t kVocab = 33, kWidth = 11, kHeads = 2;

Weights declare(Kernels& k) {
  return {.dense = k.declare("dense", kWidth, 65),
          .router = k.declare("router", kWidth, 4, 1, Role::Router),
          .experts = k.declare("experts", kWidth, 33, 4),
          .tied = k.declare("tied", kVocab, kWidth, 1, Role::Embedding),
          .positions = k.declare("positions", kSeq, kWidth, 1, Role::Embedding),
          .table = k.declare("table", kVocab, kWidth, 1, Role::Embedding),
          .gain = k.declare("gain", 1, kWidth, 1, Role::Vector),
          .taps = k.declare("taps", 3, kWidth, 1, Role::Vector),
          .bias = k.declare("bias", 32, kHeads, 1, Role::Vector)};
}

// A step begins, with memory as an optimizer may leave it.
void begin(Lab& lab) {
  const Params& params = lab.kernels().params();
  for (int i = 0; i < static_cast<int>(params.slots().size()); ++i)
    lab->memory.fill(params.gradient({i}), std::nan(""));
  lab.kernels().begin_step();
}

void attend(Lab& lab, Weight bias) {
  const AttentionShape shape{kBatch, kSeq, kHeads, 6, 0.4};
  const auto in = [&] { return lab.operand(kTokens, kHeads * 6); };
  const auto out = [&] { return lab.operand_nan(kTokens, kHeads * 6); };
  const View q = in(), k = in(), v = in(), o = out(), lse = lab.nan(kTokens, kHeads);
  lab->attention.attend(shape, q, k, v, bias, o, lse);
  lab->attention.attend_backward(shape, q, k, v, bias, o, lse, in(), out(), out(), out());
}

// One contribution of every kernel; some experts have no rows.
void contribute(Lab& lab, const Weights& w, const std::vector<std::int32_t>& offset) {
  const auto x = [&](std::int64_t cols) { return lab.operand(kTokens, cols); };
  const auto nowhere = [&](std::int64_t rows) { return lab.nan(rows, kWidth); };
  lab->products.matmul_backward(x(kWidth), x(65), w.dense, nowhere(kTokens), false);
  lab->products.matmul_backward(x(kWidth), x(4), w.router, nowhere(kTokens), false);
  Routing r;
  r.offset = lab.kernels().indices(offset);
  lab->products.expert_matmul_backward(lab.operand(70, kWidth), lab.operand(70, 33), r, w.experts,
                                       nowhere(70), false);
  std::vector<std::int32_t> ids;
  for (std::int32_t t = 0; t < kTokens; ++t) ids.push_back(t * t % 7);  // most tokens never come
  const View token = lab.kernels().indices(ids),
             loss = lab.kernels().buffer(Dtype::F64, kTokens, 1);
  const View dx = lab.random(kTokens, kWidth), dh = lab.nan(kTokens, kWidth);
  lab->loss.cross_entropy(x(kWidth), w.tied, token, 1, loss, dh);
  lab->elementwise.embed_backward(token, kSeq, dx, w.tied, w.positions);
  lab->elementwise.embed_backward(token, kSeq, dx, w.table, {});
  lab->loss.cross_entropy(x(kWidth), w.table, token, 1, loss, dh);
  lab->elementwise.rms_norm_backward(lab.random(kTokens, kWidth), w.gain, lab.random(kTokens, 1),
                                     dh, dx, {});
  lab->attention.causal_conv_backward(x(kWidth), kSeq, w.taps, x(kWidth),
                                      lab.operand_nan(kTokens, kWidth));
  attend(lab, w.bias);
}

void see(Lab& lab) {
  const View sum = lab.kernels().buffer(Dtype::F64, 1, 1);
  for (int i = 0; i < static_cast<int>(lab.kernels().params().slots().size()); ++i) {
    lab->update.squared_norm({i}, sum);
    lab.show(sum);
  }
  lab.show_gradients();
}

TEST(CpuGradients, AreTheSumOfWhatCameInAStep) {
  for (const int contributions : {1, 2})
    expect_agreement([&](Lab& lab) {
      SCOPED_TRACE(contributions);
      const Weights w = declare(lab.kernels());
      lab.kernels().attach();
      for (int step = 0; step < 2; ++step) {
        begin(lab);
        contribute(lab, w, {0, 0, 40, 40, 70});
        if (contributions > 1) contribute(lab, w, {0, 10, 10, 10, 70});  // other ones are empty
        see(lab);
      }
    });
}

}  // namespace
}  // namespace moebius
