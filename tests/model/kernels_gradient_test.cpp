#include <gtest/gtest.h>

#include "tests/support/gradient_check.h"
#include "tests/support/kernels.h"

namespace moebius {
namespace {

using testing_support::check_gradient;
using testing_support::Kernels;

constexpr double kBefore = Kernels::kBefore;  // what `+=` outputs hold before
constexpr double kGarbage = 7;                // what `=` outputs hold before

TEST(GradientCheck, CatchesAGradientThatIsOffByAThousandth) {
  const auto f = [](const std::vector<double>& x) { return std::sin(x[0]) * x[1] * x[1]; };
  const std::vector<double> x = {0.3, -1.2};
  std::vector<double> gradient = {std::cos(x[0]) * x[1] * x[1], 2 * std::sin(x[0]) * x[1]};
  EXPECT_TRUE(check_gradient(f, x, gradient));
  for (double& g : gradient) g *= 1.001;
  EXPECT_FALSE(check_gradient(f, x, gradient));
}

TEST(GradientCheck, CatchesAPlantedErrorInAKernel) {
  Kernels k;
  const Weight w = k.declare("w", 5, 3);
  k.attach();
  const View x = k.random(4, 5, 1), y = k.matrix(4, 3), dy = k.random(4, 3, 2);
  const auto loss = [&] {
    k->products.matmul(x, w, y);
    return k.dot(y, dy);
  };
  const View dx = k.matrix(4, 5);
  k->products.matmul_transposed(dy, w, dx);
  auto gradient = k.read(dx);
  EXPECT_TRUE(check_gradient(k, x, loss, gradient));
  for (double& g : gradient) g *= 1.001;
  EXPECT_FALSE(check_gradient(k, x, loss, gradient));
}

TEST(Embed, BackwardIsTheGradient) {
  Kernels k;
  const Weight table = k.declare("table", 6, 3), positions = k.declare("positions", 2, 3);
  k.attach();
  const View token = k.indices({1, 4, 1, 0});  // token 1 twice
  const View x = k.matrix(4, 3), dx = k.random(4, 3, 1);
  const auto loss = [&] {
    k->elementwise.embed(token, 2, table, positions, x);
    return k.dot(x, dx);
  };
  k->elementwise.embed_backward(token, 2, dx, table, positions);
  EXPECT_TRUE(check_gradient(k, k.value(table), loss, k.gradient(table)));
  EXPECT_TRUE(check_gradient(k, k.value(positions), loss, k.gradient(positions)));
}

TEST(RmsNorm, BackwardIsTheGradient) {
  Kernels k;
  const Weight gain = k.declare("gain", 1, 5);
  k.attach();
  const View x = k.random(4, 5, 1), y = k.matrix(4, 5), rstd = k.matrix(4, 1);
  const View dy = k.random(4, 5, 2), dx = k.matrix(4, 5, kBefore);
  const View copy = k.matrix(4, 5, kGarbage);
  const auto loss = [&] {
    k->elementwise.rms_norm(x, {}, gain, y, rstd);
    return k.dot(y, dy);
  };
  loss();
  k->elementwise.rms_norm_backward(x, gain, rstd, dy, dx, copy);
  EXPECT_EQ(k.read(copy), k.read(dx));
  EXPECT_TRUE(check_gradient(k, x, loss, k.read(dx, kBefore)));
  EXPECT_TRUE(check_gradient(k, k.value(gain), loss, k.gradient(gain)));
}

TEST(Softmax, BackwardIsTheGradient) {
  Kernels k;
  const View logits = k.random(4, 5, 1), probs = k.matrix(4, 5), dprobs = k.random(4, 5, 2);
  const View dlogits = k.matrix(4, 5, kBefore);
  const auto loss = [&] {
    k->routing.softmax(logits, probs);
    return k.dot(probs, dprobs);
  };
  loss();
  k->routing.softmax_backward(probs, dprobs, dlogits);
  EXPECT_TRUE(check_gradient(k, logits, loss, k.read(dlogits, kBefore)));
}

class ActivationGradient : public ::testing::TestWithParam<Activation> {};
INSTANTIATE_TEST_SUITE_P(All, ActivationGradient,
                         ::testing::Values(Activation::Relu, Activation::Gelu,
                                           Activation::SquaredRelu, Activation::Silu));

TEST_P(ActivationGradient, PlainBackward) {
  Kernels k;
  const View up = k.random(4, 6, 1), y = k.matrix(4, 6), dy = k.random(4, 6, 2);
  const View slope = k.matrix(4, 6, kGarbage), dup = k.matrix(4, 6, kGarbage);
  const auto loss = [&] {
    k->elementwise.activate(GetParam(), up, y, slope);
    return k.dot(y, dy);
  };
  loss();
  k->elementwise.multiply(dy, slope, dup);
  EXPECT_TRUE(check_gradient(k, up, loss, k.read(dup)));
}

TEST_P(ActivationGradient, GatedBackward) {
  Kernels k;
  const View up = k.random(4, 6, 1), gate = k.random(4, 6, 2), y = k.matrix(4, 6);
  const View dy = k.random(4, 6, 3), dup = k.matrix(4, 6, kGarbage);
  const View dgate = k.matrix(4, 6, kGarbage);
  const auto loss = [&] {
    k->elementwise.glu(GetParam(), up, gate, y);
    return k.dot(y, dy);
  };
  k->elementwise.glu_backward(GetParam(), up, gate, dy, dup, dgate);
  EXPECT_TRUE(check_gradient(k, up, loss, k.read(dup)));
  EXPECT_TRUE(check_gradient(k, gate, loss, k.read(dgate)));
}

TEST(Matmul, BackwardIsTheGradient) {
  Kernels k;
  const Weight w = k.declare("w", 5, 3);
  k.attach();
  const View x = k.random(4, 5, 1), y = k.matrix(4, 3, kGarbage), dy = k.random(4, 3, 2);
  const auto loss = [&] {
    k->products.matmul(x, w, y);
    return k.dot(y, dy);
  };
  const View dx = k.matrix(4, 5, kGarbage), more = k.matrix(4, 5, kBefore);
  k->products.matmul_transposed(dy, w, dx);
  k->products.matmul_backward(x, dy, w, more, true);
  EXPECT_TRUE(check_gradient(k, x, loss, k.read(dx)));
  EXPECT_TRUE(check_gradient(k, x, loss, k.read(more, kBefore)));
  EXPECT_TRUE(check_gradient(k, k.value(w), loss, k.gradient(w)));
}

TEST(ExpertMatmul, BackwardIsTheGradientAndRowsBeyondTheCountAreLeftAlone) {
  Kernels k;
  const Weight w = k.declare("w", 3, 2, 3);  // [E, D, F]
  k.attach();
  Routing r;
  r.offset = k.indices({0, 2, 2, 5});  // expert 1 has none; 6 rows, the last unused
  const View x = k.random(6, 3, 1), y = k.matrix(6, 2), dy = k.random(6, 2, 2);
  const auto loss = [&] {
    k->products.expert_matmul(x, r, w, y);
    return k.dot(y.row_range(0, 5), dy.row_range(0, 5));
  };
  const View dx = k.matrix(6, 3, kGarbage);
  k->products.expert_matmul_backward(x, dy, r, w, dx, false);
  EXPECT_EQ(k.read(dx.row_range(5, 1)), Kernels::constant(3, kGarbage));
  k.write(dx.row_range(5, 1), Kernels::constant(3, 0));
  EXPECT_TRUE(check_gradient(k, x, loss, k.read(dx)));
  EXPECT_TRUE(check_gradient(k, k.value(w), loss, k.gradient(w)));
}

TEST(Rotate, InverseIsTheTransposeAndUndoesIt) {
  Kernels k;
  const View x = k.random(6, 8, 1), dy = k.random(6, 8, 2);  // 2 sequences of 3, 2 heads of 4
  const auto before = k.read(x), r = k.read(dy);
  k->attention.rotate(x, 3, 2, 10000, false);
  const double forward = k.dot(x, dy);
  k->attention.rotate(x, 3, 2, 10000, true);
  k->attention.rotate(dy, 3, 2, 10000, true);
  const auto again = k.read(x);
  for (std::size_t i = 0; i < again.size(); ++i) EXPECT_NEAR(again[i], before[i], 1e-14);
  EXPECT_NEAR(forward, k.dot(x, dy), 1e-12);  // <R x, dy> = <x, R^T dy>
}

TEST(CausalConv, BackwardIsTheGradient) {
  Kernels k;
  const Weight taps = k.declare("taps", 3, 2);
  k.attach();
  const View x = k.random(8, 2, 1), y = k.matrix(8, 2), dy = k.random(8, 2, 2);
  const View dx = k.matrix(8, 2, kGarbage);
  const auto loss = [&] {
    k->attention.causal_conv(x, 4, taps, y);
    return k.dot(y, dy);
  };
  k->attention.causal_conv_backward(x, 4, taps, dy, dx);
  EXPECT_TRUE(check_gradient(k, x, loss, k.read(dx)));
  EXPECT_TRUE(check_gradient(k, k.value(taps), loss, k.gradient(taps)));
}

// q, k and v as columns of one buffer; 20 positions reach the logarithmic buckets of the bias.
TEST(Attention, BackwardIsTheGradient) {
  for (const bool biased : {false, true}) {
    Kernels k;
    const Weight bias = biased ? k.declare("bias", 32, 2) : Weight{};
    k.attach();
    const AttentionShape shape{.batch = 2, .seq = 20, .heads = 2, .head_dim = 3, .scale = 0.6};
    const View qkv = k.random(40, 18, 1), dqkv = k.matrix(40, 18, kGarbage);
    const View o = k.matrix(40, 6), lse = k.matrix(40, 2), dout = k.random(40, 6, 2);
    const auto loss = [&] {
      k->attention.attend(shape, qkv.columns(0, 6), qkv.columns(6, 6), qkv.columns(12, 6), bias, o,
                          lse);
      return k.dot(o, dout);
    };
    loss();
    k->attention.attend_backward(shape, qkv.columns(0, 6), qkv.columns(6, 6), qkv.columns(12, 6),
                                 bias, o, lse, dout, dqkv.columns(0, 6), dqkv.columns(6, 6),
                                 dqkv.columns(12, 6));
    EXPECT_TRUE(check_gradient(k, qkv, loss, k.read(dqkv)));
    if (!biased) continue;
    EXPECT_TRUE(check_gradient(k, k.value(bias), loss, k.gradient(bias)));
  }
}

View random_probs(Kernels& k, std::int64_t tokens, std::int64_t experts) {
  const View logits = k.random(tokens, experts, 11), probs = k.matrix(tokens, experts);
  k->routing.softmax(logits, probs);
  return probs;
}

TEST(ChooseExperts, BackwardIsTheGradientWithDropsAndWithout) {
  for (const bool renormalise : {false, true})
    for (const std::int64_t capacity : {-1, 2}) {
      Kernels k;
      const View probs = random_probs(k, 8, 3), dweight = k.random(16, 1, 2);
      const View dprobs = k.matrix(8, 3, kBefore);
      Routing r = k.routing(16, 8, 3, 2);
      const Groups groups{2, 4, 4, 1};
      const auto loss = [&] {
        k->routing.choose_experts(probs, groups, capacity, renormalise, r);
        const auto kept = static_cast<std::int64_t>(k.read(r.offset).back());
        EXPECT_EQ(kept<16, capacity> 0);
        return k.dot(r.weight.row_range(0, kept), dweight.row_range(0, kept));
      };
      loss();
      k->routing.choice_backward(probs, r, renormalise, dweight, dprobs);
      EXPECT_TRUE(check_gradient(k, probs, loss, k.read(dprobs, kBefore)));
    }
}

TEST(ChooseTokens, BackwardIsTheGradient) {
  Kernels k;
  const View probs = random_probs(k, 8, 4), dweight = k.random(8, 1, 2);
  const View dprobs = k.matrix(8, 4, kBefore);
  Routing r = k.routing(8, 8, 4, 0);
  const auto loss = [&] {
    k->routing.choose_tokens(probs, {1, 8, 8, 1}, 2, {}, r);
    return k.dot(r.weight, dweight);
  };
  loss();
  k->routing.choice_backward(probs, r, false, dweight, dprobs);
  EXPECT_TRUE(check_gradient(k, probs, loss, k.read(dprobs, kBefore)));
}

TEST(GatherAndCombine, BackwardIsTheGradient) {
  Kernels k;
  const View probs = random_probs(k, 6, 3);
  Routing r = k.routing(12, 6, 3, 2);
  k->routing.choose_experts(probs, {1, 6, 6, 1}, 3, true, r);
  const auto kept = static_cast<std::int64_t>(k.read(r.offset).back());
  ASSERT_LT(kept, 12);
  const View x = k.random(6, 4, 1), y = k.matrix(12, 4), out = k.matrix(6, 4, kGarbage);
  const View dout = k.random(6, 4, 2), dy = k.matrix(12, 4), dweight = k.matrix(12, 1);
  const View dx = k.matrix(6, 4, kBefore);
  const auto loss = [&] {
    k->routing.gather(x, r, y);
    k->routing.combine(y, r, out);
    return k.dot(out, dout);
  };
  loss();
  k->routing.combine_backward(y, r, dout, dy, dweight);
  k->routing.gather_backward(dy, r, dx);
  EXPECT_TRUE(check_gradient(k, x, loss, k.read(dx, kBefore)));
  EXPECT_TRUE(check_gradient(k, r.weight, loss, k.read(dweight)));
}

// f has no gradient: with the choices frozen, the loss is linear in probs.
TEST(RouterLosses, BackwardIsTheGradient) {
  Kernels k;
  const View logits = k.random(8, 4, 11), probs = k.matrix(8, 4);
  k->routing.softmax(logits, probs);
  Routing r = k.routing(16, 8, 4, 2);
  const Groups groups{4, 2, 1, 4};  // position groups of 2 sequences of 4
  k->routing.choose_experts(probs, groups, -1, true, r);
  const double aux = 0.3, z = 0.2;
  const View statistics = k.buffer(Dtype::F64, 1, 4);
  const auto loss = [&] {
    k->memory.fill(statistics, 0);
    k->routing.router_losses(logits, probs, groups, r, statistics);
    const auto s = k.read(statistics);
    return aux * s[0] + z * s[1];
  };
  const View dprobs = k.matrix(8, 4, kBefore), dlogits = k.matrix(8, 4, kBefore);
  k->routing.router_losses_backward(logits, probs, groups, r, aux, z, dprobs, dlogits);
  EXPECT_TRUE(check_gradient(k, probs, loss, k.read(dprobs, kBefore)));
  EXPECT_TRUE(check_gradient(k, logits, loss, k.read(dlogits, kBefore)));
}

TEST(CrossEntropy, BackwardIsTheGradient) {
  Kernels k;
  const Weight table = k.declare("table", 6, 4);
  k.attach();
  const View h = k.random(5, 4, 1), loss_view = k.buffer(Dtype::F64, 5, 1);
  const View target = k.indices({0, 5, 2, 2, 1}), dh = k.matrix(5, 4, kGarbage);
  const double scale = 0.7;
  const auto loss = [&] {
    k->loss.cross_entropy(h, table, target, scale, loss_view, {});
    double sum = 0;
    for (const double x : k.read(loss_view)) sum += scale * x;
    return sum;
  };
  k->loss.cross_entropy(h, table, target, scale, loss_view, dh);
  EXPECT_TRUE(check_gradient(k, h, loss, k.read(dh)));
  EXPECT_TRUE(check_gradient(k, k.value(table), loss, k.gradient(table)));
}

}  // namespace
}  // namespace moebius
