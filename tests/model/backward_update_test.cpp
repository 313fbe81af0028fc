// A recipe without clipping, of one micro-batch a step, updates hidden matrices in the backward
// pass and keeps no gradient of them.

#include <gtest/gtest.h>

#include "tests/model/model_support.h"

namespace moebius::testing {
namespace {

constexpr std::int64_t kBatch = 4, kSeq = 12, kVocab = 19, kWidth = 24;

// Few experts, and so many that some see no token.
Spec odd_block() {
  return block(kWidth,
               {attn(2, 12, "learned", 3), moe(33, 60, "top2"), ffn(40), moe(20, 2, "top2")});
}

Recipe unclipped(const std::string& optimizer, double clip) {
  Recipe r = recipe(kBatch, kSeq);
  r.optimizer = optimizer;
  r.clip = clip;
  r.weight_decay = 0.1;
  return r;
}

// Weights after three steps, and the gradient norm of each.
std::vector<std::vector<double>> trained(const Recipe& r, LearnerOptions how) {
  Learner learner(odd_block(), r, kVocab, how, builtin_catalog());
  shake(learner, 5);
  std::vector<std::vector<double>> result(1);
  for (int t = 0; t < 3; ++t) {
    const auto seed = static_cast<std::uint64_t>(t);
    const auto tokens = random_tokens(kBatch * kSeq, kVocab, seed);
    const auto targets = random_tokens(kBatch * kSeq, kVocab, seed + 9);
    result[0].push_back(learner.train(tokens, targets, t, 3).gradient_norm);
  }
  for (const ParamSlot& slot : learner.params().slots())
    result.push_back(learner.read_value(slot.name));
  return result;
}

// A bound that no norm reaches scales by exactly one, but needs the norm first.
TEST(BackwardUpdate, GivesTheBitsOfAnUpdateAtTheEnd) {
  for (const char* optimizer : {"adamw", "adafactor"})
    for (const char* precision : {"f64", "fp32", "bf16"})
      for (const int threads : {1, 2, 4}) {
        SCOPED_TRACE(fmt::format("{} {} {}", optimizer, precision, threads));
        LearnerOptions how;
        how.backend = std::string(precision) == "f64" ? "reference" : "cpu";
        how.backend_options = {.precision = precision, .threads = threads};
        const auto within = trained(unclipped(optimizer, 0), how);
        const auto after = trained(unclipped(optimizer, 1e6), how);
        for (std::size_t t = 0; t < 3; ++t)
          EXPECT_NEAR(within[0][t], after[0][t], 1e-5 * after[0][t]);
        for (std::size_t i = 1; i < after.size(); ++i) EXPECT_EQ(within[i], after[i]) << i;
      }
}

TEST(BackwardUpdate, NeedsNoMemoryForGradients) {
  const auto gradients = [](Recipe r) {
    return Learner::plan(odd_block(), r, kVocab, options("fp32"), builtin_catalog()).gradients;
  };
  Recipe r = unclipped("adafactor", 0);
  const std::int64_t without = gradients(r);
  r.micro_batch = kBatch / 2;
  const std::int64_t with = gradients(r);
  EXPECT_LT(without, with / 4);
  EXPECT_EQ(gradients(unclipped("adafactor", 1)), with);
}

// One matrix's gradient of every thread that takes whole matrices, in the back-end's own memory.
TEST(BackwardUpdate, AnnouncesTheGradientThatPassesThrough) {
  const Spec large = block(64, {attn(2, 8), moe(2048, 8, "top2")});
  const auto workspace = [&](double clip, int threads) {
    LearnerOptions how = options("fp32");
    how.backend = "cpu";
    how.backend_options.threads = threads;
    return Learner::plan(large, unclipped("adamw", clip), kVocab, how, builtin_catalog()).workspace;
  };
  constexpr double kMatrix = 4.0 * 64 * 2048;
  for (const int threads : {1, 2, 4})
    EXPECT_NEAR(static_cast<double>(workspace(0, threads) - workspace(1, threads)) / threads,
                kMatrix, 0.1 * kMatrix);
}

}  // namespace
}  // namespace moebius::testing
