// Optimizer steps against the papers' formulas, written out once more in double.

#include <gtest/gtest.h>

#include <array>

#include "tests/model/model_support.h"
#include "tests/support/plugins.h"

namespace moebius::testing {
namespace {

constexpr std::int64_t kBatch = 2, kSeq = 8, kVocab = 11, kWidth = 8;
constexpr double kRate = 0.02, kDecay = 0.1, kClip = 0.05, kLrWidth = 32;

using Vector = std::vector<double>;

Recipe optimizer_recipe(const std::string& optimizer) {
  Recipe r = recipe(kBatch, kSeq);
  r.optimizer = optimizer;
  r.schedule = "wsd";
  r.warmup = r.decay = 0;
  r.lr = {{"token_choice", kRate}};
  r.lr_width = kLrWidth;
  r.weight_decay = kDecay;
  r.clip = kClip;
  return r;
}

double rate(const ParamSlot& slot) {
  return slot.role == Role::Hidden ? kRate * kLrWidth / static_cast<double>(slot.rows) : kRate;
}
double decay(const ParamSlot& slot) { return slot.role == Role::Vector ? 0 : kDecay; }

// Runs three steps of the learner beside `update(slot, t, gradient, value)`, which steps a copy.
template <class Update>
void compare(const std::string& optimizer, Update&& update) {
  const Spec spec = block(kWidth, {attn(2, 4, "learned", 3), moe(6, 2, "top2"), ffn(5)});
  Learner learner(spec, optimizer_recipe(optimizer), kVocab, options(), test_catalog());
  shake(learner, 5);
  const auto tokens = random_tokens(kBatch * kSeq, kVocab, 3);
  const auto targets = random_tokens(kBatch * kSeq, kVocab, 4);
  for (int t = 1; t <= 3; ++t) {
    const StepResult result = learner.gradients(tokens, targets);
    ASSERT_GT(result.gradient_norm, kClip);  // so that clipping is on
    double sum = 0;
    std::vector<Vector> want;
    for (const ParamSlot& slot : learner.params().slots()) {
      Vector gradient = learner.read_gradient(slot.name), value = learner.read_value(slot.name);
      for (double& g : gradient) {
        sum += g * g;
        g *= kClip / result.gradient_norm;
      }
      update(slot, t, gradient, value);
      want.push_back(value);
    }
    EXPECT_NEAR(std::sqrt(sum), result.gradient_norm, 1e-12);
    learner.train(tokens, targets, t - 1, 3);
    std::size_t next = 0;
    for (const ParamSlot& slot : learner.params().slots()) {
      const Vector got = learner.read_value(slot.name), &expected = want[next++];
      for (std::size_t i = 0; i < got.size(); ++i)
        ASSERT_NEAR(got[i], expected[i], 1e-10) << slot.name << " step " << t;
    }
  }
}

TEST(AdamW, IsTheFormula) {
  std::map<std::string, std::pair<Vector, Vector>> moments;
  compare("adamw", [&](const ParamSlot& slot, int t, const Vector& g, Vector& w) {
    auto& [m, v] = moments[slot.name];
    m.resize(g.size());
    v.resize(g.size());
    for (std::size_t i = 0; i < g.size(); ++i) {
      m[i] = 0.9 * m[i] + 0.1 * g[i];
      v[i] = 0.95 * v[i] + 0.05 * g[i] * g[i];
      const double mean = m[i] / (1 - std::pow(0.9, t)), square = v[i] / (1 - std::pow(0.95, t));
      w[i] -= rate(slot) * (mean / (std::sqrt(square) + 1e-8) + decay(slot) * w[i]);
    }
  });
}

// Of the tests' own plug-in: an optimizer that no kernel knows gets clipped gradients, rates and
// state like the others.
TEST(AmsGrad, IsTheFormula) {
  std::map<std::string, std::array<Vector, 3>> moments;
  compare("amsgrad", [&](const ParamSlot& slot, int, const Vector& g, Vector& w) {
    auto& [m, v, largest] = moments[slot.name];
    for (Vector* state : {&m, &v, &largest}) state->resize(g.size());
    for (std::size_t i = 0; i < g.size(); ++i) {
      m[i] = 0.9 * m[i] + 0.1 * g[i];
      v[i] = 0.95 * v[i] + 0.05 * g[i] * g[i];
      largest[i] = std::max(largest[i], v[i]);
      w[i] -= rate(slot) * (m[i] / (std::sqrt(largest[i]) + 1e-8) + decay(slot) * w[i]);
    }
  });
}

TEST(Adafactor, IsTheFormula) {
  struct Moments {
    Vector rows, columns;
  };
  std::map<std::string, std::vector<Moments>> state;  // one of each matrix of the slot
  compare("adafactor", [&](const ParamSlot& slot, int t, const Vector& g, Vector& w) {
    const double beta = std::min(0.99, 1 - std::pow(t, -0.8));
    const bool full = slot.role == Role::Vector;
    const auto rows = static_cast<std::size_t>(slot.rows),
               cols = static_cast<std::size_t>(slot.cols);
    auto& matrices = state[slot.name];
    matrices.resize(static_cast<std::size_t>(slot.batch));
    for (std::size_t b = 0; b < matrices.size(); ++b) {
      const double* gradient = &g[b * rows * cols];
      auto& [r, c] = matrices[b];
      r.resize(full ? rows * cols : rows);
      c.resize(cols);
      Vector row_mean(rows), column_mean(cols);
      for (std::size_t i = 0; i < rows; ++i)
        for (std::size_t j = 0; j < cols; ++j) {
          const double square = gradient[i * cols + j] * gradient[i * cols + j] + 1e-30;
          row_mean[i] += square / static_cast<double>(cols);
          column_mean[j] += square / static_cast<double>(rows);
          if (full) r[i * cols + j] = beta * r[i * cols + j] + (1 - beta) * square;
        }
      double mean = 0;
      for (std::size_t i = 0; i < rows && !full; ++i) {
        r[i] = beta * r[i] + (1 - beta) * row_mean[i];
        mean += r[i] / static_cast<double>(rows);
      }
      for (std::size_t j = 0; j < cols; ++j) c[j] = beta * c[j] + (1 - beta) * column_mean[j];
      Vector update(rows * cols);
      double square = 0;
      for (std::size_t i = 0; i < rows; ++i)
        for (std::size_t j = 0; j < cols; ++j) {
          const double v = full ? r[i * cols + j] : r[i] * c[j] / mean;
          double& u = update[i * cols + j];
          u = gradient[i * cols + j] / std::sqrt(v);
          square += u * u;
        }
      const double rms = std::sqrt(square / static_cast<double>(update.size()));
      for (std::size_t i = 0; i < update.size(); ++i) {
        double& weight = w[b * rows * cols + i];
        weight -= rate(slot) * (update[i] / std::max(1.0, rms) + decay(slot) * weight);
      }
    }
  });
}

TEST(Optimizers, SayThatTheyDoNotScaleTheirSteps) {
  Recipe r = recipe(2, 8);
  r.update_scale = "parameter";
  for (const std::string& name : test_catalog().optimizers.names()) {
    r.optimizer = name;
    if (test_catalog().optimizers.get(name).scales_updates) {
      EXPECT_NE(make_optimizer(r, test_catalog().optimizers), nullptr);
      continue;
    }
    try {
      Learner(block(8, {ffn(4)}), r, 11, options(), test_catalog());
      FAIL() << name;
    } catch (const Error& error) {
      EXPECT_EQ(error.code(), Exit::BadInput);
      EXPECT_EQ(std::string(error.what()), "recipe:/update_scale: optimizer " + name +
                                               " does not scale its steps; allowed: none; got: "
                                               "parameter");
    }
  }
}

TEST(Optimizers, StateIsSmallForAdafactorAndTwiceTheModelForAdamW) {
  const Spec spec = block(64, {attn(4, 16), ffn(128)});
  Recipe r = recipe(2, 8);
  const auto state = [&](const char* name) {
    r.optimizer = name;
    const MemoryPlan plan = Learner::plan(spec, r, 256, options("fp32"), builtin_catalog());
    return static_cast<double>(plan.optimizer) / static_cast<double>(plan.parameters);
  };
  EXPECT_NEAR(state("adamw"), 2, 0.02);
  EXPECT_LT(state("adafactor"), 0.06);
}

}  // namespace
}  // namespace moebius::testing
