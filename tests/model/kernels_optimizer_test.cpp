#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <array>

#include "tests/support/kernels.h"

namespace moebius {
namespace {

using testing_support::Kernels;
using testing_support::near;

TEST(SquaredNorm, Accumulates) {
  Kernels k;
  const Weight a = k.declare("a", 1, 2), b = k.declare("b", 2, 1);
  k.attach();
  const View sum = k.buffer(Dtype::F64, 1, 1);
  k.write(k.params().gradient(a), {3, 4});
  k.write(k.params().gradient(b), {1, 2});
  k->update.squared_norm(a, sum);
  k->update.squared_norm(b, sum);
  EXPECT_EQ(k.read(sum)[0], 30);
}

// One weight whose values and gradients a test sets.
struct Stepper {
  Kernels k;
  Weight w;
  View gradient, norm2;
  explicit Stepper(std::int64_t rows = 2, std::int64_t cols = 2, std::int64_t batch = 1)
      : w(k.declare("w", rows, cols, batch)) {
    k.attach();
    gradient = k.params().gradient(w);
    norm2 = k.buffer(Dtype::F64, 1, 1);
  }
  void set(const std::vector<double>& values, const std::vector<double>& gradients) {
    k.write(k.value(w), values);
    k.write(gradient, gradients);
    k->memory.fill(norm2, 0);
    k->update.squared_norm(w, norm2);
  }
};

// The first step moves every weight by lr against its sign, whatever the gradient's size.
TEST(AdamW, FirstTwoStepsByHand) {
  Stepper s;
  const View m = s.k.matrix(2, 2), v = s.k.matrix(2, 2);
  s.set({1, 2, 3, 4}, {.1, -.2, .3, -.4});
  s.k->update.apply(s.w, {AdamW{.01, .9, .99, 0, .5, 1 - .9, 1 - .99}, std::array{m, v}}, s.norm2,
                    0);
  EXPECT_THAT(s.k.read(s.k.value(s.w)), near(1e-14, {1 - .01 * (1 + .5), 2 - .01 * (-1 + 1),
                                                     3 - .01 * (1 + 1.5), 4 - .01 * (-1 + 2)}));

  s.set({1, 1, 1, 1}, {.3, .2, .3, .4});
  s.k->update.apply(s.w, {AdamW{.01, .9, .99, 0, 0, 1 - .81, 1 - .9801}, std::array{m, v}}, s.norm2,
                    0);
  const double m0 = (.9 * .01 + .1 * .3) / (1 - .81);
  const double v0 = (.99 * .0001 + .01 * .09) / (1 - .9801);
  EXPECT_NEAR(s.k.read(s.k.value(s.w))[0], 1 - .01 * m0 / std::sqrt(v0), 1e-14);
}

TEST(AdamW, ClipsByTheGlobalNorm) {
  Stepper s;
  const View m = s.k.matrix(2, 2), v = s.k.matrix(2, 2);
  s.set({0, 0, 0, 0}, {3, 4, 0, 0});
  s.k->update.apply(s.w, {AdamW{.1, .5, .5, 1e-8, 0, 1, 1}, std::array{m, v}}, s.norm2,
                    1);  // factor 1/5
  EXPECT_THAT(s.k.read(m), near(1e-15, {.3, .4, 0, 0}));
  s.set({0, 0, 0, 0}, {.3, .4, 0, 0});
  s.k->memory.fill(m, 0);
  s.k->update.apply(s.w, {AdamW{.1, .5, .5, 1e-8, 0, 1, 1}, std::array{m, v}}, s.norm2,
                    1);  // below the norm: untouched
  EXPECT_THAT(s.k.read(m), near(1e-15, {.15, .2, 0, 0}));
}

// g^2 of rank one factors exactly: the update is the sign of g, so its RMS is 1 without any
// clipping.
TEST(Adafactor, OfARankOneGradientIsItsSign) {
  Stepper s;
  const View rows = s.k.matrix(2, 1), columns = s.k.matrix(1, 2);
  s.set({1, 2, 3, 4}, {.1, -.2, .3, -.6});
  s.k->update.apply(s.w, {Adafactor{.01, 0, 1e-30, 10, .5}, std::array{rows, columns}}, s.norm2, 0);
  EXPECT_THAT(s.k.read(rows), near(1e-15, {.025, .225}));
  EXPECT_THAT(s.k.read(columns), near(1e-15, {.05, .2}));
  EXPECT_THAT(s.k.read(s.k.value(s.w)), near(1e-14, {1 - .01 * (1 + .5), 2 - .01 * (-1 + 1),
                                                     3 - .01 * (1 + 1.5), 4 - .01 * (-1 + 2)}));
}

// With a second moment that remembers smaller gradients the update has RMS 2 and is cut to 1.
TEST(Adafactor, ClipsTheUpdateByItsRms) {
  Stepper s(1, 4);
  const View v = s.k.matrix(1, 4, {1, 1, 1, 1});
  s.set({0, 0, 0, 0}, {2, -2, 2, -2});
  s.k->update.apply(s.w, {Adafactor{.01, 1, 1e-30, 1, 0}, std::array{v}}, s.norm2, 0);
  EXPECT_THAT(s.k.read(s.k.value(s.w)), near(1e-14, {-.01, .01, -.01, .01}));
}

// Algorithm 4: by max(epsilon 2, RMS(w)) of every matrix, w before the step; the decay is not
// scaled.
TEST(Adafactor, StepsRelativeToTheParameter) {
  Stepper s(1, 2, 2);
  const View rows = s.k.matrix(2, 1), columns = s.k.matrix(2, 2);
  s.set({3, 4, 0, 0}, {.1, -.1, .1, -.1});
  s.k->update.apply(s.w, {Adafactor{.01, 0, 1e-30, 1, .5, 1e-3}, std::array{rows, columns}},
                    s.norm2, 0);
  const double rms = std::sqrt(12.5);
  EXPECT_THAT(s.k.read(s.k.value(s.w)),
              near(1e-14, {3 - .01 * (rms + 1.5), 4 - .01 * (-rms + 2), -1e-5, 1e-5}));
  Stepper vector(1, 2);
  vector.set({3, 4}, {.1, -.1});
  vector.k->update.apply(vector.w,
                         {Adafactor{.01, 0, 1e-30, 1, 0, 1e-3}, std::array{vector.k.matrix(1, 2)}},
                         vector.norm2, 0);
  EXPECT_THAT(vector.k.read(vector.k.value(vector.w)), near(1e-14, {3 - .01 * rms, 4 + .01 * rms}));
}

TEST(Adafactor, KeepsTheFullSecondMomentOfVectors) {
  Stepper s(1, 4);
  const View v = s.k.matrix(1, 4);
  s.set({0, 0, 0, 0}, {1, 2, 3, 4});
  s.k->update.apply(s.w, {Adafactor{.01, .75, 0, 10, 0}, std::array{v}}, s.norm2, 0);
  EXPECT_THAT(s.k.read(v), near(1e-15, {.25, 1, 2.25, 4}));
  EXPECT_THAT(s.k.read(s.k.value(s.w)), near(1e-14, {-.02, -.02, -.02, -.02}));
}

// Every expert is a tensor of its own: another expert's gradient changes nothing.
TEST(Adafactor, TreatsTheMatricesOfABatchApart) {
  const std::vector<double> first = {.1, .5, -.3, .4}, values = {1, 2, 3, 4};
  Stepper alone, together(2, 2, 2);
  const View rows1 = alone.k.matrix(2, 1), columns1 = alone.k.matrix(1, 2);
  const View rows2 = together.k.matrix(4, 1), columns2 = together.k.matrix(2, 2);
  const Adafactor options{.01, .5, 1e-30, 1, 0};
  alone.set(values, first);
  alone.k->update.apply(alone.w, {options, std::array{rows1, columns1}}, alone.norm2, 0);
  together.set({1, 2, 3, 4, 5, 6, 7, 8}, {.1, .5, -.3, .4, 90, 80, 70, 60});
  together.k->update.apply(together.w, {options, std::array{rows2, columns2}}, together.norm2, 0);
  EXPECT_EQ(together.k.read(together.k.value(together.w).row_range(0, 2)),
            alone.k.read(alone.k.value(alone.w)));
}

// An expert that no token reached: no update, no NaN, in f32 too.
TEST(Adafactor, ZeroGradientsMoveNothing) {
  Kernels k("reference", "fp32");
  const Weight w = k.declare("w", 2, 2);
  k.attach();
  k.write(k.value(w), {1, 2, 3, 4});
  k.write(k.params().gradient(w), {0, 0, 0, 0});
  const View norm2 = k.buffer(Dtype::F64, 1, 1);
  k->update.apply(w, {Adafactor{.01, 0, 1e-30, 1, 0}, std::array{k.matrix(2, 1), k.matrix(1, 2)}},
                  norm2, 1);
  EXPECT_EQ(k.read(k.value(w)), (std::vector<double>{1, 2, 3, 4}));
}

}  // namespace
}  // namespace moebius
