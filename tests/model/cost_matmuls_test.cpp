// The static cost against what is really done: every product of the dry run and of the reference.

#include <gtest/gtest.h>

#include "space/cost.h"
#include "space/scale.h"
#include "tests/model/model_support.h"

namespace moebius::testing {
namespace {

constexpr std::int64_t kVocab = 19, kSeq = 64;

double flops(const std::vector<Operation>& products) {
  double sum = 0;
  for (const Operation& product : products)
    if (const auto* attention = std::get_if<Attention>(&product))
      sum += attention->flops();
    else
      sum += std::get<Matmul>(product).flops();
  return sum;
}

std::vector<std::string> small_baselines() {
  std::vector<std::string> names;
  for (const std::string& name : baseline_blocks()) names.push_back(name + "-nano");
  return names;
}

class Baseline : public ::testing::TestWithParam<std::string> {
 protected:
  Spec spec() const { return baseline(GetParam(), builtin_catalog().types); }
  Recipe nano() const { return recipe(4, kSeq, 2); }
};

TEST_P(Baseline, DryRunDoesExactlyTheStaticFlops) {
  const Recipe r = nano();
  const MemoryPlan plan = Learner::plan(spec(), r, kVocab, options(), builtin_catalog());
  const Cost expected = cost(spec(), builtin_catalog().types, r, kVocab);
  const double micro_batches = static_cast<double>(r.batch / r.micro_batch);
  EXPECT_EQ(flops(plan.products) * micro_batches, expected.step_flops);
}

TEST_P(Baseline, DeclaresTheParametersOfTheStaticCost) {
  Params params;
  const Spec block = spec();
  const Model model(block, TokenShape{2, kSeq, block.d_model}, kVocab, builtin_catalog(), params);
  EXPECT_EQ(params.trained(), cost(block, builtin_catalog().types, nano(), kVocab).parameters);
}

INSTANTIATE_TEST_SUITE_P(Blocks, Baseline, ::testing::ValuesIn(small_baselines()),
                         [](const auto& it) {
                           std::string name = it.param;
                           for (char& c : name) c = c == '-' ? '_' : c;
                           return name;
                         });

TEST(Cost, CountsWhatTheReferenceDoes) {
  const std::vector<Spec> specs = {
      block(8, {attn(3, 4), ffn(12, "gated_gelu"), ffn(6)}, 2),
      block(8, {attn(2, 4, "rope", 3), moe(6, 4, "top2"), moe(5, 4, "top1", 0, "batch", "relu")}),
      block(8, {attn(2, 4), moe(6, 4, "expert_choice", 1), moe(6, 4, "expert_choice", 2)}),
      block(8, {attn(2, 4), moe(6, 4, "expert_choice", 1, "position", "gated_relu")})};
  for (const Spec& spec : specs) {
    const Recipe r = recipe(4, 8);
    Learner learner(spec, r, kVocab, options(), builtin_catalog());
    learner.gradients(random_tokens(32, kVocab, 1), random_tokens(32, kVocab, 2));
    EXPECT_EQ(flops(learner.backend().logged_products()),
              cost(spec, builtin_catalog().types, r, kVocab).step_flops);
  }
}

// Parameters of the papers (papers.md 1.7 and 3.1), without embeddings, norms and biases there.
TEST(Cost, ReproducesThePublishedSizes) {
  const auto billions = [](const std::string& name) {
    const Spec spec = baseline(name, builtin_catalog().types);
    const Recipe r = recipe(1, 1024);
    const Cost c = cost(spec, builtin_catalog().types, r, 256000);
    return static_cast<double>(c.block_parameters) / 1e9;
  };
  EXPECT_NEAR(billions("glam-100m-32e"), 0.977, 0.002);
  EXPECT_NEAR(billions("glam-8b-64e"), 142.8, 0.2);
  EXPECT_NEAR(billions("brainformer-1-1b-64e"), 29.5, 0.1);
  EXPECT_NEAR(billions("brainformer-1-8b-64e"), 157.2, 0.1);
}

// 2^32 tokens in 64 slots each, D = 2^24: one buffer of all pairs has 2^64 bytes.
TEST(Cost, BytesOfTheLargestBlockDoNotWrap) {
  const Spec spec = block(1 << 24, {moe(1, 64, "expert_choice", 64)});
  const Recipe r = recipe(1 << 16, 1 << 16);
  EXPECT_EQ(why_illegal(spec, builtin_catalog().types, r), "");
  const Cost c = cost(spec, builtin_catalog().types, r, kVocab);
  EXPECT_EQ(c.exchange_bytes, 2 * 2 * 0x1p64);  // there and back, forward and backward
  EXPECT_GT(c.pass_bytes, 3 * 3 * 0x1p64);      // gather twice, combine once; backward doubles
}

// The pre-flight of a model that fits nowhere touches no memory.
TEST(Plan, OfTheLargestModelIsOnlyArithmetic) {
  Recipe r = recipe(512, 1024, 1);
  r.optimizer = "adafactor";
  const Spec spec = baseline("brainformer-1-8b-64e", builtin_catalog().types);
  const MemoryPlan plan = Learner::plan(spec, r, 256000, options("fp32"), builtin_catalog());
  const Cost expected = cost(spec, builtin_catalog().types, r, 256000);
  EXPECT_NEAR(static_cast<double>(plan.parameters), 4 * static_cast<double>(expected.parameters),
              1e-4 * 4 * 157e9);
  EXPECT_LT(plan.optimizer, plan.parameters / 100);
  EXPECT_GT(plan.arena, 0);
}

}  // namespace
}  // namespace moebius::testing
