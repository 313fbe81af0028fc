#include <gtest/gtest.h>

#include <array>
#include <cmath>

#include "tests/model/cpu_support.h"

namespace moebius {
namespace {

using testing_support::expect_agreement;
using testing_support::Kernels;
using testing_support::Lab;

struct Shape {
  std::int64_t batch, rows, cols;
};
constexpr Shape kShapes[] = {{1, 1, 1},    {1, 7, 3},      {3, 33, 65},
                             {1, 300, 70}, {2, 1100, 130}, {9, 5, 7}};

View scalar(Lab& lab, double value) {
  const View view = lab.kernels().buffer(Dtype::F64, 1, 1);
  lab->memory.fill(view, value);
  return view;
}

// A view of rows next to each other, whatever the conditions: optimizer state is flat.
View dense(Lab& lab, std::int64_t rows, std::int64_t cols) {
  return lab.kernels().matrix(rows, cols);
}

void set_gradient(Lab& lab, Weight w, std::uint64_t seed) {
  const View g = lab.kernels().params().gradient(w);
  std::vector<double> values = Kernels::normals(g.size(), seed);
  for (std::size_t i = 0; i < values.size(); ++i) values[i] *= i % 5 == 0 ? 1e-6 : 0.1;
  lab.kernels().write(g, values);
}

Rule adamw(int t) {
  return AdamW{.lr = 0.01,
               .beta1 = 0.9,
               .beta2 = 0.99,
               .epsilon = 1e-8,
               .decay = 0.1,
               .correction1 = 1 - std::pow(0.9, t),
               .correction2 = 1 - std::pow(0.99, t)};
}
Rule adafactor(int t, double least_scale = 0) {
  return Adafactor{.lr = 0.01,
                   .beta2 = 1 - std::pow(t, -0.8),
                   .epsilon = 1e-30,
                   .clip_rms = 1,
                   .decay = 0.1,
                   .least_scale = least_scale};
}

TEST(CpuOptimizer, AdamwAgreesOverSteps) {
  for (const Shape& s : kShapes)
    for (const double clip : {0.0, 0.5})
      expect_agreement([&](Lab& lab) {
        const Weight w = lab.kernels().declare("w", s.rows, s.cols, s.batch);
        lab.kernels().attach();
        const View m = dense(lab, s.batch * s.rows, s.cols), v = dense(lab, m.rows, m.cols);
        for (int t = 1; t <= 3; ++t) {
          set_gradient(lab, w, static_cast<std::uint64_t>(t));
          lab->update.apply(w, {adamw(t), std::array{m, v}}, scalar(lab, 4), clip);
        }
        for (const View& view : {m, v}) lab.show(view);
        lab.show_values();
      });
}

void agree_over_steps_of_adafactor(const Shape& s, bool factored, double least_scale) {
  expect_agreement([&](Lab& lab) {
    const Weight w = lab.kernels().declare("w", s.rows, s.cols, s.batch);
    lab.kernels().attach();
    const View rows = dense(lab, s.batch * s.rows, factored ? 1 : s.cols);
    std::vector<View> state = {rows};
    if (factored) state.push_back(dense(lab, s.batch, s.cols));
    for (int t = 1; t <= 3; ++t) {
      set_gradient(lab, w, static_cast<std::uint64_t>(t));
      lab->update.apply(w, {adafactor(t, least_scale), state}, scalar(lab, 4), t == 2 ? 0.5 : 0);
    }
    for (const View& view : state) lab.show(view);
    lab.show_values();
  });
}

TEST(CpuOptimizer, AdafactorAgreesOverSteps) {
  for (const Shape& s : kShapes)
    for (const bool factored : {true, false})
      for (const double least_scale : {0.0, 1e-3, 5.0})
        agree_over_steps_of_adafactor(s, factored, least_scale);
}

TEST(CpuOptimizer, AdafactorSurvivesAnExpertWithoutTokens) {
  expect_agreement([](Lab& lab) {
    const Weight w = lab.kernels().declare("w", 6, 20, 2);
    lab.kernels().attach();
    lab->memory.fill(lab.kernels().params().gradient(w), 0);
    lab->update.apply(w, {adafactor(3), std::array{dense(lab, 12, 1), dense(lab, 2, 20)}},
                      scalar(lab, 0), 1);
    lab.show_values();
  });
}

TEST(CpuOptimizer, SquaredNormAgreesAndAdds) {
  for (const Shape& s : kShapes)
    expect_agreement([&](Lab& lab) {
      const Weight w = lab.kernels().declare("w", s.rows, s.cols, s.batch);
      lab.kernels().attach();
      const View sum = scalar(lab, 2);
      set_gradient(lab, w, 1);
      lab->update.squared_norm(w, sum);
      lab.show(sum);
    });
}

TEST(CpuLoss, CrossEntropyAgrees) {
  for (const std::int64_t tokens : {1, 7, 64, 65, 300, 1100})
    for (const std::int64_t vocab : {2, 33, 256, 2500})
      for (const bool backward : {true, false}) {
        SCOPED_TRACE(fmt::format("T {} V {}", tokens, vocab));
        expect_agreement([&](Lab& lab) {
          const Weight table = lab.kernels().declare("table", vocab, 11, 1, Role::Embedding);
          lab.kernels().attach();
          std::vector<std::int32_t> targets;
          for (std::int64_t t = 0; t < tokens; ++t)
            targets.push_back(static_cast<std::int32_t>(t * 7 % vocab));
          const View loss = lab.kernels().buffer(Dtype::F64, tokens, 1);
          const View dh = backward ? lab.nan(tokens, 11) : View{};
          lab->loss.cross_entropy(lab.operand(tokens, 11), table, lab.kernels().indices(targets),
                                  1 / static_cast<double>(tokens), loss, dh);
          lab.show(loss);
          if (backward) lab.show(dh);
          lab.show_gradients();
        });
      }
}

// A diverged model must show: NaN anywhere in a hidden state is NaN in its loss.
TEST(CpuLoss, NanIsNotSwallowed) {
  Kernels k("cpu", "fp32");
  const Weight table = k.declare("table", 20, 8, 1, Role::Embedding);
  k.attach();
  std::vector<double> values = Kernels::normals(16, 3);
  values[11] = std::nan("");
  const View loss = k.buffer(Dtype::F64, 2, 1);
  k->loss.cross_entropy(k.matrix(2, 8, values), table, k.indices({3, 4}), 1, loss, {});
  EXPECT_FALSE(std::isnan(k.read(loss)[0]));
  EXPECT_TRUE(std::isnan(k.read(loss)[1]));
}

}  // namespace
}  // namespace moebius
