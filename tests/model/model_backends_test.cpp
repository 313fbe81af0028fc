// Whole models on every back-end against the reference in f64, same weights and same routing.

#include <gtest/gtest.h>

#include "space/scale.h"
#include "tests/model/model_support.h"

namespace moebius::testing {
namespace {

constexpr std::int64_t kBatch = 2, kSeq = 64, kVocab = 71;
constexpr double kTolerance = 1e-4;  // of the tensor's largest gradient

struct Case {
  std::string name, backend;
  Spec spec;
};

void PrintTo(const Case& value, std::ostream* out) { *out << value.name; }

// The fast back-ends: neither the definition nor the one without numbers.
std::vector<Case> cases() {
  std::vector<std::pair<std::string, Spec>> blocks;
  for (const std::string& name : baseline_blocks())
    blocks.emplace_back(name, baseline(name + "-nano", builtin_catalog().types));
  // Widths that no vector length divides.
  blocks.emplace_back("odd_dense", block(21, {attn(3, 5, "learned", 3), ffn(19, "squared_relu"),
                                              attn(1, 10, "rope"), ffn(17, "gated_silu")}));
  blocks.emplace_back("odd_experts",
                      block(21, {attn(3, 5, "none"), moe(19, 4, "top2", 1, "batch", "gated_relu"),
                                 moe(17, 3, "top1", 0), moe(9, 4, "expert_choice", 2, "position"),
                                 moe(9, 4, "expert_choice", 1, "tokens:8")}));
  std::vector<Case> result;
  for (const auto& [backend, plugin] : builtin_catalog().backends) {
    if (!plugin.attributes.computes || plugin.attributes.definition) continue;
    for (const auto& [name, spec] : blocks) result.push_back({backend + "_" + name, backend, spec});
  }
  for (Case& it : result)
    for (char& c : it.name) c = c == '-' ? '_' : c;
  return result;
}

class WholeModel : public ::testing::TestWithParam<Case> {};

TEST_P(WholeModel, AgreesWithTheReference) {
  LearnerOptions fast = options("fp32");
  fast.backend = GetParam().backend;
  Recipe r = recipe(kBatch, kSeq);
  r.aux = 0.3;
  r.z = 0.1;
  Learner reference(GetParam().spec, r, kVocab, options(), builtin_catalog());
  Learner learner(GetParam().spec, r, kVocab, fast, builtin_catalog());
  shake(reference, 5, 0.2);
  shake(learner, 5, 0.2);
  const auto tokens = random_tokens(kBatch * kSeq, kVocab, 3);
  const auto targets = random_tokens(kBatch * kSeq, kVocab, 4);

  for (Learner* it : {&reference, &learner}) it->gradients(targets, tokens);  // are replaced
  const StepResult want = reference.gradients(tokens, targets);
  const StepResult got = learner.gradients(tokens, targets);
  EXPECT_NEAR(got.loss, want.loss, 1e-5 * want.loss);
  EXPECT_NEAR(got.aux, want.aux, 1e-5);
  EXPECT_NEAR(got.z, want.z, 1e-4 * (1 + want.z));
  EXPECT_EQ(got.kept, want.kept);
  EXPECT_EQ(got.dropped, want.dropped);
  EXPECT_NEAR(got.gradient_norm, want.gradient_norm, 1e-4 * want.gradient_norm);
  for (const ParamSlot& slot : reference.params().slots()) {
    if (!is_trained(slot.role)) continue;
    const auto a = learner.read_gradient(slot.name), b = reference.read_gradient(slot.name);
    double largest = 0, worst = 0;
    for (std::size_t i = 0; i < a.size(); ++i) {
      largest = std::max(largest, std::abs(b[i]));
      worst = std::max(worst, std::abs(a[i] - b[i]));
    }
    EXPECT_LE(worst, kTolerance * largest) << slot.name;
  }
  for (const Mode mode : {Mode::Native, Mode::Causal}) {
    const auto a = learner.evaluate(tokens, targets, mode);
    const auto b = reference.evaluate(tokens, targets, mode);
    for (std::size_t i = 0; i < a.size(); ++i) ASSERT_NEAR(a[i], b[i], 1e-3) << i;
  }
}

INSTANTIATE_TEST_SUITE_P(BackEnds, WholeModel, ::testing::ValuesIn(cases()),
                         [](const auto& it) { return it.param.name; });

// bf16 keeps eight bits of what is multiplied: directions and sizes stay, digits do not.
TEST(Bf16, GradientsPointTheSameWay) {
  for (const char* block : {"dense-nano", "gpt-nano", "llama-nano", "primer-ez-nano"}) {
    SCOPED_TRACE(block);
    LearnerOptions fast = options("bf16");
    fast.backend = "cpu";
    const Spec spec = baseline(block, builtin_catalog().types);
    const Recipe r = recipe(kBatch, kSeq);
    Learner reference(spec, r, kVocab, options(), builtin_catalog());
    Learner learner(spec, r, kVocab, fast, builtin_catalog());
    const auto tokens = random_tokens(kBatch * kSeq, kVocab, 3);
    const auto targets = random_tokens(kBatch * kSeq, kVocab, 4);
    const StepResult want = reference.gradients(tokens, targets);
    EXPECT_NEAR(learner.gradients(tokens, targets).loss, want.loss, 1e-3 * want.loss);
    for (const ParamSlot& slot : reference.params().slots()) {
      const auto a = learner.read_gradient(slot.name), b = reference.read_gradient(slot.name);
      double ab = 0, aa = 0, bb = 0;
      for (std::size_t i = 0; i < a.size(); ++i) {
        ab += a[i] * b[i];
        aa += a[i] * a[i];
        bb += b[i] * b[i];
      }
      EXPECT_GT(ab / std::sqrt(aa * bb), 0.995) << slot.name;
      EXPECT_NEAR(std::sqrt(aa / bb), 1, 0.03) << slot.name;
    }
  }
}

// Values after three steps, for 1, 2 and 3 threads.
void threads_do_not_change_a_bit(const std::string& backend, const std::string& precision,
                                 const std::string& block) {
  SCOPED_TRACE(backend + " " + precision + " " + block);
  const auto tokens = random_tokens(kBatch * kSeq, kVocab, 3);
  const auto targets = random_tokens(kBatch * kSeq, kVocab, 4);
  const Spec spec = baseline(block, builtin_catalog().types);
  std::vector<std::unique_ptr<Learner>> learners;
  for (const int threads : {1, 2, 3}) {
    LearnerOptions with = options(precision);
    with.backend = backend;
    with.backend_options.threads = threads;
    learners.push_back(
        std::make_unique<Learner>(spec, recipe(kBatch, kSeq), kVocab, with, builtin_catalog()));
    for (int t = 0; t < 3; ++t) learners.back()->train(tokens, targets, t, 3);
  }
  for (const ParamSlot& slot : learners[0]->params().slots()) {
    EXPECT_EQ(learners[1]->read_value(slot.name), learners[0]->read_value(slot.name)) << slot.name;
    EXPECT_EQ(learners[2]->read_value(slot.name), learners[0]->read_value(slot.name)) << slot.name;
  }
}

TEST(Threads, DoNotChangeABit) {
  for (const auto& [backend, plugin] : builtin_catalog().backends) {
    const BackendAttributes& its = plugin.attributes;
    if (!its.computes || its.definition || !its.deterministic) continue;
    for (const char* block : {"glam-nano", "glam-ec-nano", "llama-nano"}) {
      threads_do_not_change_a_bit(backend, "fp32", block);
      if (its.bf16) threads_do_not_change_a_bit(backend, "bf16", block);
    }
  }
}

}  // namespace
}  // namespace moebius::testing
