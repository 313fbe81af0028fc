#include <gtest/gtest.h>

#include <cmath>

#include "tests/model/cpu_support.h"
#include "tests/model/instruction_levels.h"

namespace moebius {
namespace {

using testing_support::each_level;
using testing_support::expect_agreement;
using testing_support::Lab;

struct Sizes {
  std::int64_t batch, seq, heads, head_dim;
};
constexpr Sizes kSizes[] = {{1, 1, 1, 2},    {2, 7, 3, 6},    {3, 64, 4, 16}, {2, 65, 3, 8},
                            {1, 200, 2, 20}, {2, 130, 1, 64}, {1, 3, 1, 300}};

template <class Body>
void each_size(const Body& body) {
  for (const Sizes& s : kSizes) {
    SCOPED_TRACE(fmt::format("B {} S {} H {} K {}", s.batch, s.seq, s.heads, s.head_dim));
    body(s);
  }
}

// Forward and backward, with a relative bias or without; the script shows everything.
void attend(Lab& lab, const Sizes& s, bool biased) {
  Weight bias;
  if (biased) bias = lab.kernels().declare("bias", 32, s.heads, 1, Role::Vector);
  lab.kernels().attach();
  const AttentionShape shape{s.batch, s.seq, s.heads, s.head_dim,
                             1 / std::sqrt(static_cast<double>(s.head_dim))};
  const std::int64_t rows = s.batch * s.seq, cols = s.heads * s.head_dim;
  const View q = lab.operand(rows, cols), k = lab.operand(rows, cols);
  const View v = lab.operand(rows, cols), o = lab.operand_nan(rows, cols);
  const View lse = lab.nan(rows, s.heads), dout = lab.operand(rows, cols);
  const View dq = lab.operand_nan(rows, cols), dk = lab.operand_nan(rows, cols),
             dv = lab.operand_nan(rows, cols);
  lab->attention.attend(shape, q, k, v, bias, o, lse);
  lab->attention.attend_backward(shape, q, k, v, bias, o, lse, dout, dq, dk, dv);
  for (const View& view : {o, lse, dq, dk, dv}) lab.show(view);
  lab.show_gradients();
}

TEST(CpuAttention, AgreesForwardAndBackward) {
  for (const bool biased : {false, true})
    each_size([&](const Sizes& s) { expect_agreement([&](Lab& lab) { attend(lab, s, biased); }); });
}

TEST(CpuAttention, AgreesOnEveryLevel) {
  const auto script = [](Lab& lab) { attend(lab, {2, 77, 2, 20}, true); };
  for (const Dtype operand : {Dtype::F32, Dtype::BF16}) {
    const auto expected = testing_support::run(script, "reference", {.operand = operand});
    each_level([&] {
      const auto got = testing_support::run(script, "cpu", {.operand = operand});
      ASSERT_EQ(got.size(), expected.size());
      for (std::size_t i = 0; i < got.size(); ++i)
        EXPECT_LE(testing_support::distance(got[i], expected[i]),
                  operand == Dtype::F32 ? 1e-5 : 0.02)
            << "output " << i;
    });
  }
}

// The backward pass divides by it: it is not rounded with the probabilities.
TEST(CpuAttention, LogSumIsExactWithBf16Operands) {
  const auto script = [](Lab& lab) {
    lab.kernels().attach();
    const View x = lab.operand(200, 32, 2), o = lab.operand_nan(200, 32), lse = lab.nan(200, 1);
    lab->attention.attend({1, 200, 1, 32, 0.2}, x, lab.operand(200, 32, 2), x, {}, o, lse);
    lab.show(lse);
  };
  const auto expected = testing_support::run(script, "reference", {.operand = Dtype::BF16});
  each_level([&] {
    const auto got = testing_support::run(script, "cpu", {.operand = Dtype::BF16});
    for (std::size_t i = 0; i < expected[0].size(); ++i)
      EXPECT_NEAR(got[0][i], expected[0][i], 1e-5 + 5e-7 * std::abs(expected[0][i])) << i;
  });
}

// q, k and v as columns of one buffer.
TEST(CpuAttention, AgreesOnInterleavedInputs) {
  expect_agreement([](Lab& lab) {
    lab.kernels().attach();
    const View qkv = lab.operand(2 * 33, 3 * 24), dqkv = lab.operand_nan(2 * 33, 3 * 24);
    const View o = lab.operand_nan(2 * 33, 24), lse = lab.nan(2 * 33, 3);
    const AttentionShape shape{2, 33, 3, 8, 0.3};
    const View q = qkv.columns(0, 24), k = qkv.columns(24, 24), v = qkv.columns(48, 24);
    lab->attention.attend(shape, q, k, v, {}, o, lse);
    lab->attention.attend_backward(shape, q, k, v, {}, o, lse, lab.operand(2 * 33, 24),
                                   dqkv.columns(0, 24), dqkv.columns(24, 24), dqkv.columns(48, 24));
    lab.show(o);
    lab.show(dqkv);
  });
}

// A diverged model must show: a query that is NaN is NaN in its output, and in no other.
TEST(CpuAttention, NanIsNotSwallowed) {
  if (std::string(cpu::kBaselineName) == "x86-64")
    GTEST_SKIP() << "there the exponential makes a number of some NaN (simd-inl.h)";
  for (const bool biased : {false, true}) {
    Lab lab("cpu", {});
    Weight bias;
    if (biased) bias = lab.kernels().declare("bias", 32, 1, 1, Role::Vector);
    lab.kernels().attach();
    const View q = lab.operand(9, 4), o = lab.operand_nan(9, 4), lse = lab.nan(9, 1);
    lab->memory.fill(q.row_range(6, 1), std::nan(""));
    lab->attention.attend({1, 9, 1, 4, 0.5}, q, lab.operand(9, 4), lab.operand(9, 4), bias, o, lse);
    lab.show(o);
    lab.show(lse);
    for (const std::vector<double>& shown : lab.shown())
      for (std::size_t i = 0; i < shown.size(); ++i)
        EXPECT_EQ(std::isnan(shown[i]), i / (shown.size() / 9) == 6) << i;
  }
}

TEST(CpuAttention, IgnoresTheFutureToTheBit) {
  const auto outputs = [](double future) {
    Lab lab("cpu", {});
    const Weight bias = lab.kernels().declare("bias", 32, 2, 1, Role::Vector);
    lab.kernels().attach();
    constexpr std::int64_t kSeq = 100, kSplit = 70;
    const AttentionShape shape{1, kSeq, 2, 16, 0.25};
    std::vector<View> inputs;
    for (int i = 0; i < 3; ++i) {
      inputs.push_back(lab.operand(kSeq, 32));
      lab->memory.fill(inputs.back().row_range(kSplit, kSeq - kSplit), future);
    }
    const View o = lab.operand_nan(kSeq, 32), lse = lab.nan(kSeq, 2);
    lab->attention.attend(shape, inputs[0], inputs[1], inputs[2], bias, o, lse);
    lab.show(o.row_range(0, kSplit));
    lab.show(lse.row_range(0, kSplit));
    return lab.shown();
  };
  EXPECT_EQ(outputs(0.5), outputs(-30));
}

TEST(CpuRotate, AgreesAndInverts) {
  each_size([](const Sizes& s) {
    expect_agreement([&](Lab& lab) {
      const View x = lab.operand(s.batch * s.seq, s.heads * s.head_dim);
      lab->attention.rotate(x, s.seq, s.heads, 10000, false);
      lab.show(x);
      lab->attention.rotate(x, s.seq, s.heads, 500, true);
      lab.show(x);
    });
  });
}

TEST(CpuConvolution, AgreesForwardAndBackward) {
  each_size([](const Sizes& s) {
    expect_agreement([&](Lab& lab) {
      const std::int64_t rows = s.batch * s.seq, cols = s.heads * s.head_dim;
      const Weight taps = lab.kernels().declare("taps", 3, cols, 1, Role::Vector);
      lab.kernels().attach();
      const View x = lab.operand(rows, cols), y = lab.operand_nan(rows, cols),
                 dx = lab.operand_nan(rows, cols);
      lab->attention.causal_conv(x, s.seq, taps, y);
      lab->attention.causal_conv_backward(x, s.seq, taps, lab.operand(rows, cols), dx);
      lab.show(y);
      lab.show(dx);
      lab.show_gradients();
    });
  });
}

}  // namespace
}  // namespace moebius
