#include <gtest/gtest.h>

#include "tests/model/model_support.h"

namespace moebius::testing {
namespace {

constexpr std::int64_t kBatch = 4, kSeq = 8, kVocab = 13;

class MicroBatches : public ::testing::TestWithParam<Spec> {};

TEST_P(MicroBatches, GiveTheGradientOfTheWholeBatch) {
  const auto tokens = random_tokens(kBatch * kSeq, kVocab, 3);
  const auto targets = random_tokens(kBatch * kSeq, kVocab, 4);
  Recipe whole = recipe(kBatch, kSeq), parts = recipe(kBatch, kSeq, 1);
  whole.aux = parts.aux = 0.3;
  whole.z = parts.z = 0.2;
  Learner one(GetParam(), whole, kVocab, options(), builtin_catalog());
  Learner four(GetParam(), parts, kVocab, options(), builtin_catalog());
  shake(one, 5);
  shake(four, 5);
  const StepResult want = one.gradients(tokens, targets);
  const StepResult got = four.gradients(tokens, targets);
  EXPECT_NEAR(got.loss, want.loss, 1e-12);
  EXPECT_NEAR(got.aux, want.aux, 1e-12);
  EXPECT_NEAR(got.z, want.z, 1e-10);
  EXPECT_NEAR(got.gradient_norm, want.gradient_norm, 1e-10);
  EXPECT_EQ(got.kept, want.kept);
  EXPECT_LT(four.memory().arena, one.memory().arena);
  for (const ParamSlot& slot : one.params().slots()) {
    if (!is_trained(slot.role)) continue;
    const auto a = four.read_gradient(slot.name), b = one.read_gradient(slot.name);
    for (std::size_t i = 0; i < a.size(); ++i) ASSERT_NEAR(a[i], b[i], 1e-11) << slot.name;
  }
}

// Bit for bit, so that the ranked loss of a trained block does not depend on --micro-batch.
TEST(MicroBatches, MoveThresholdsAsTheWholeBatchDoes) {
  for (const char* group : {"sequence", "tokens:4"}) {
    const Spec spec = block(8, {attn(2, 4), moe(6, 4, "expert_choice", 2, group)});
    Learner one(spec, recipe(kBatch, kSeq), kVocab, options("fp32"), builtin_catalog());
    Learner four(spec, recipe(kBatch, kSeq, 1), kVocab, options("fp32"), builtin_catalog());
    for (const std::uint64_t seed : {3, 5, 7}) {
      const auto tokens = random_tokens(kBatch * kSeq, kVocab, seed);
      one.gradients(tokens, tokens);
      four.gradients(tokens, tokens);
      const std::string slot = "stack.0.sublayer.1.moe.threshold";
      EXPECT_EQ(one.read_value(slot), four.read_value(slot)) << group;
      EXPECT_NE(one.read_value(slot), std::vector<double>(4, 0.0));
    }
  }
}

INSTANTIATE_TEST_SUITE_P(Blocks, MicroBatches,
                         ::testing::Values(block(8, {attn(2, 4, "learned"), ffn(6, "gated_silu")},
                                                 2),
                                           block(8, {attn(2, 4, "rope", 3), moe(6, 4, "top2", 1)}),
                                           block(8, {attn(2, 4), moe(6, 4, "top1", 1, "tokens:4")}),
                                           block(8, {attn(2, 4), moe(6, 4, "expert_choice", 2)})));

TEST(MicroBatches, AreRefusedWhereGroupsSpanTheBatch) {
  for (const char* group : {"position", "batch"}) {
    const Spec spec = block(8, {attn(2, 4), moe(6, 4, "top2", 1, group)});
    try {
      Learner(spec, recipe(kBatch, kSeq, 2), kVocab, options(), builtin_catalog());
      FAIL() << group;
    } catch (const Error& error) {
      EXPECT_EQ(error.code(), Exit::BadInput);
      EXPECT_NE(std::string(error.what()).find("/sublayers/1/group"), std::string::npos);
    }
  }
}

}  // namespace
}  // namespace moebius::testing
