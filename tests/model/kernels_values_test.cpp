#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <numbers>

#include "model/backends/shared.h"
#include "tests/support/kernels.h"

namespace moebius {
namespace {

using ::testing::ElementsAre;
using testing_support::Kernels;
using testing_support::near;

TEST(RelativeBucket, IsT5sTable) {
  // First distance of buckets 16..31: ceil(16 * 8^(i/16)).
  const std::vector<std::int64_t> first = {16, 19, 21, 24, 27, 31, 35, 40,
                                           46, 52, 59, 67, 77, 87, 99, 113};
  for (std::int64_t n = 0; n <= 200; ++n) {
    std::int64_t expected = n;
    if (n >= 16) expected = 15 + (std::upper_bound(first.begin(), first.end(), n) - first.begin());
    EXPECT_EQ(relative_bucket(n), expected) << "n = " << n;
  }
}

TEST(RmsNorm, HandValue) {
  Kernels k;
  const Weight gain = k.declare("gain", 1, 2);
  k.attach();
  k.write(k.value(gain), {1, 2});
  const View x = k.matrix(1, 2, {3, 4}), y = k.matrix(1, 2), rstd = k.matrix(1, 1);
  k->elementwise.rms_norm(x, {}, gain, y, rstd);
  const double r = 1 / std::sqrt(12.5 + 1e-6);
  EXPECT_THAT(k.read(rstd), near(1e-15, {r}));
  EXPECT_THAT(k.read(y), near(1e-14, {3 * r, 8 * r}));
  const View stream = k.matrix(1, 2, {1, 5}), residual = k.matrix(1, 2, {2, -1});
  k->elementwise.rms_norm(stream, residual, gain, y, rstd);
  EXPECT_THAT(k.read(stream), ElementsAre(3, 4));
  EXPECT_THAT(k.read(y), near(1e-14, {3 * r, 8 * r}));
}

TEST(Softmax, HandValueAndHugeLogits) {
  Kernels k;
  const View z = k.matrix(2, 2, {std::log(3.0), 0, 1e4, 1e4}), p = k.matrix(2, 2);
  k->routing.softmax(z, p);
  EXPECT_THAT(k.read(p), near(1e-15, {.75, .25, .5, .5}));
}

TEST(Activation, HandValues) {
  Kernels k;
  const View x = k.matrix(1, 2, {-1, 1}), y = k.matrix(1, 2);
  const double phi = 0.5 * (1 + std::erf(1 / std::numbers::sqrt2)), s = 1 / (1 + std::exp(-1.0));
  k->elementwise.activate(Activation::Relu, x, y, {});
  EXPECT_THAT(k.read(y), ElementsAre(0, 1));
  k->elementwise.activate(Activation::SquaredRelu, x, y, {});
  EXPECT_THAT(k.read(y), ElementsAre(0, 1));
  k->elementwise.activate(Activation::Gelu, x, y, {});
  EXPECT_THAT(k.read(y), near(1e-15, {phi - 1, phi}));
  k->elementwise.activate(Activation::Silu, x, y, {});
  EXPECT_THAT(k.read(y), near(1e-15, {s - 1, s}));
  k->elementwise.glu(Activation::Relu, x, k.matrix(1, 2, {5, -5}), y);  // a(gate) * up
  EXPECT_THAT(k.read(y), ElementsAre(-5, 0));
}

TEST(Rotate, TurnsAQuarterByHand) {
  Kernels k;
  const double base = std::pow(2 / std::numbers::pi, 2);  // second pair: base^(-2/4) = pi / 2
  const View x = k.matrix(2, 4, {1, 2, 3, 4, 1, 0, 1, 0});
  k->attention.rotate(x, 2, 1, base, false);
  EXPECT_THAT(k.read(x), near(1e-15, {1, 2, 3, 4, std::cos(1.0), std::sin(1.0), 0, 1}));
}

TEST(CausalConv, HandValueAndSequencesDoNotMix) {
  Kernels k;
  const Weight taps = k.declare("taps", 3, 1);
  k.attach();
  k.write(k.value(taps), {1, 10, 100});
  const View x = k.matrix(8, 1, {1, 2, 3, 4, 5, 6, 7, 8}), y = k.matrix(8, 1);
  k->attention.causal_conv(x, 4, taps, y);
  EXPECT_THAT(k.read(y), ElementsAre(1, 12, 123, 234, 5, 56, 567, 678));
}

TEST(Attention, HandValueWithAndWithoutBias) {
  Kernels k;
  const Weight bias = k.declare("bias", 32, 1);
  k.attach();
  const AttentionShape shape{.batch = 1, .seq = 2, .heads = 1, .head_dim = 1, .scale = 0.5};
  const View q = k.matrix(2, 1, {1, 2}), key = k.matrix(2, 1, {std::log(3.0), 0});
  const View v = k.matrix(2, 1, {4, 8}), o = k.matrix(2, 1), lse = k.matrix(2, 1);
  k->attention.attend(shape, q, key, v, {}, o, lse);  // second row: weights 3/4, 1/4
  EXPECT_THAT(k.read(o), near(1e-14, {4, 5}));
  EXPECT_THAT(k.read(lse), near(1e-14, {std::log(3.0) / 2, std::log(4.0)}));
  std::vector<double> table(32, 100);
  table[0] = std::log(3.0);  // the token itself: weights become 1/2, 1/2
  table[1] = 0;              // the one before
  k.write(k.value(bias), table);
  k->attention.attend(shape, q, key, v, bias, o, lse);
  EXPECT_THAT(k.read(o), near(1e-14, {4, 6}));
}

TEST(Attention, EarlierRowsIgnoreLaterTokensToTheBit) {
  Kernels k;
  k.attach();
  const AttentionShape shape{.batch = 2, .seq = 6, .heads = 2, .head_dim = 4, .scale = 0.5};
  const View x = k.random(12, 8, 1), o = k.matrix(12, 8), lse = k.matrix(12, 2);
  k->attention.attend(shape, x, x, x, {}, o, lse);
  const auto before = k.read(o);
  auto changed = Kernels::normals(8, 2);
  for (double& value : changed) value *= 10;  // would be the largest score of earlier rows too
  k.write(x.row_range(3, 1), changed);        // token 3 of sequence 0
  k->attention.attend(shape, x, x, x, {}, o, lse);
  const auto after = k.read(o);
  for (std::size_t t = 0; t < 12; ++t) {
    bool same = true;
    for (std::size_t c = 0; c < 8; ++c) same &= before[t * 8 + c] == after[t * 8 + c];
    EXPECT_EQ(same, t < 3 || t >= 6) << "row " << t;
  }
}

TEST(CrossEntropy, HandValueAndStability) {
  Kernels k;
  const Weight table = k.declare("table", 2, 1);
  k.attach();
  k.write(k.value(table), {std::log(3.0), 0});
  const View h = k.matrix(2, 1, {1, 1e4}), loss = k.buffer(Dtype::F64, 2, 1);
  k->loss.cross_entropy(h, table, k.indices({0, 0}), 1, loss, {});
  EXPECT_THAT(k.read(loss), near(1e-14, {-std::log(0.75), 0.0}));
}

TEST(Initialise, NormalMomentsAndBounds) {
  Kernels k;
  const Weight w = k.declare("w", 500, 400, 1, Role::Hidden, Init::normal(0.5));
  k.attach();
  k->memory.initialise(k.value(w), k.params().slot(w), 42);
  double m1 = 0, m2 = 0, m3 = 0, m4 = 0, paired = 0;
  const auto x = k.read(k.value(w));
  for (std::size_t i = 0; i < x.size(); ++i) {
    const double z = x[i] / 0.5;
    m1 += z, m2 += z * z, m3 += z * z * z, m4 += z * z * z * z;
    if (i % 2 == 1) paired += x[i] * x[i - 1] / 0.25;
  }
  const double n = static_cast<double>(x.size());
  // Five standard errors: of the mean 1/sqrt(n), the variance sqrt(2/n), skewness sqrt(15/n),
  // kurtosis sqrt(96/n), correlation of the n/2 Box-Muller pairs sqrt(2/n).
  EXPECT_NEAR(m1 / n, 0, 5 / std::sqrt(n));
  EXPECT_NEAR(m2 / n, 1, 5 * std::sqrt(2 / n));
  EXPECT_NEAR(m3 / n, 0, 5 * std::sqrt(15 / n));
  EXPECT_NEAR(m4 / n, 3, 5 * std::sqrt(96 / n));
  EXPECT_NEAR(paired / (n / 2), 0, 5 * std::sqrt(2 / n));
}

TEST(Initialise, AnElementDependsOnKeyAndIndexOnly) {
  ParamSlot slot;
  slot.rows = 10;
  slot.cols = 10;
  slot.init = Init::normal(1);
  std::vector<double> whole(100), part(7), other(100);
  initial_values(slot, 3, 0, 100, whole.data());
  initial_values(slot, 3, 5, 12, part.data());  // odd begin, even end
  for (std::size_t i = 0; i < part.size(); ++i) EXPECT_EQ(part[i], whole[5 + i]);
  initial_values(slot, 4, 0, 100, other.data());
  EXPECT_NE(whole, other);
}

TEST(Initialise, ConstantsAndTaps) {
  Kernels k;
  const Weight gain = k.declare("gain", 1, 2, 1, Role::Vector, Init::constant(1));
  const Weight taps = k.declare("taps", 3, 2, 1, Role::Vector, Init::first_row_one());
  k.attach();
  k->memory.initialise(k.value(gain), k.params().slot(gain), 1);
  k->memory.initialise(k.value(taps), k.params().slot(taps), 1);
  EXPECT_THAT(k.read(k.value(gain)), ElementsAre(1, 1));
  EXPECT_THAT(k.read(k.value(taps)), ElementsAre(1, 1, 0, 0, 0, 0));
}

TEST(Reference, Fp32IsF64RoundedAtTheStores) {
  const auto run = [](const std::string& precision) {
    Kernels k("reference", precision);
    const Weight w = k.declare("w", 64, 48);
    k.attach();
    const AttentionShape shape{.batch = 2, .seq = 8, .heads = 3, .head_dim = 16, .scale = 0.02};
    const View x = k.random(16, 64, 1), y = k.matrix(16, 48), o = k.matrix(16, 48);
    k->products.matmul(x, w, y);
    k->attention.attend(shape, y, y, y, {}, o, k.matrix(16, 3));
    return k.read(o);
  };
  const auto wide = run("f64"), narrow = run("fp32");
  EXPECT_NE(wide, narrow);
  EXPECT_THAT(narrow, near(2e-4, wide));
}

TEST(Reference, ChecksShapes) {
  Kernels k;
  const Weight w = k.declare("w", 5, 3);
  k.attach();
  EXPECT_THROW(k->products.matmul(k.matrix(4, 4), w, k.matrix(4, 3)), Error);
  EXPECT_THROW(k->products.matmul(k.matrix(4, 5), w, k.matrix(3, 3)), Error);
  EXPECT_THROW(builtin_catalog().backends.get("reference").make({.precision = "fp16"}), Error);
}

}  // namespace
}  // namespace moebius
