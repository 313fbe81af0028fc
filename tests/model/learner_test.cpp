#include "model/learner.h"

#include <gtest/gtest.h>

#include <filesystem>
#include <limits>

#include "model/checkpoint.h"
#include "tests/model/model_support.h"
#include "tests/support/folder.h"
#include "tests/support/plugins.h"

namespace moebius::testing {
namespace {

constexpr std::int64_t kBatch = 4, kSeq = 16, kVocab = 29;

struct Batch {
  explicit Batch(std::uint64_t seed)
      : tokens(random_tokens(kBatch * kSeq, kVocab, seed)),
        targets(random_tokens(kBatch * kSeq, kVocab, seed + 100)) {}
  std::vector<std::int32_t> tokens, targets;
};

Spec mixed() {
  return block(12, {attn(3, 4, "learned", 3), moe(10, 4, "expert_choice", 2), ffn(10, "gated_gelu"),
                    moe(10, 4, "top2", 1)});
}

Recipe with_optimizer(const std::string& name) {
  Recipe r = recipe(kBatch, kSeq, 2);
  r.optimizer = name;
  r.weight_decay = 0.01;
  return r;
}

void expect_same_bits(const Learner& a, const Learner& b) {
  for (const ParamSlot& slot : a.params().slots())
    EXPECT_EQ(a.read_value(slot.name), b.read_value(slot.name)) << slot.name;
}

// Steps [begin, end) of 6.
void train(Learner& learner, std::int64_t begin, std::int64_t end) {
  for (std::int64_t t = begin; t < end; ++t) {
    const Batch batch(static_cast<std::uint64_t>(t));
    learner.train(batch.tokens, batch.targets, t, 6);
  }
}

class LearnerWith : public ::testing::TestWithParam<std::string> {
 protected:
  Learner make(std::uint64_t seed) const {
    return Learner(mixed(), with_optimizer(GetParam()), kVocab, options("fp32", seed),
                   test_catalog());
  }
  std::string file(const std::string& name) const { return folder_.file(name + ".safetensors"); }

  const testing_support::Folder folder_;
};

TEST_P(LearnerWith, SameSeedGivesTheSameBits) {
  Learner a = make(7), b = make(7), other = make(8);
  expect_same_bits(a, b);
  EXPECT_NE(a.read_value("embedding.table"), other.read_value("embedding.table"));
  train(a, 0, 3);
  train(b, 0, 3);
  expect_same_bits(a, b);
}

TEST_P(LearnerWith, EvaluationChangesNothing) {
  Learner a = make(7), b = make(7);
  const Batch batch(50);
  train(a, 0, 2);
  train(b, 0, 2);
  b.evaluate(batch.tokens, batch.targets, Mode::Causal);
  b.evaluate(batch.tokens, batch.targets, Mode::Native);
  expect_same_bits(a, b);
  train(a, 2, 3);
  train(b, 2, 3);
  expect_same_bits(a, b);
}

TEST_P(LearnerWith, GoesOnFromACheckpointBitForBit) {
  Learner straight = make(7);
  train(straight, 0, 6);

  Learner first = make(7);
  train(first, 0, 3);
  const std::string path = file("resume");
  first.save(path, 3, true, R"({"block": {"d_model": 12}, "note": "half way"})");

  Learner second = make(99);  // other weights, all replaced
  EXPECT_EQ(second.restore(path, true), 3);
  train(second, 3, 6);
  expect_same_bits(straight, second);

  const SafetensorsFile saved(path);
  EXPECT_EQ(saved.metadata().at("checkpoint"), "moebius.checkpoint/1");
  EXPECT_EQ(saved.metadata().at("step"), "3");
  EXPECT_EQ(saved.metadata().at("block"), R"({"d_model":12})");
  EXPECT_EQ(saved.metadata().at("note"), "half way");
  EXPECT_EQ(saved.tensors().at("stack.0.sublayer.1.moe.up").shape,
            (std::vector<std::int64_t>{4, 12, 10}));
  std::filesystem::remove(path);
}

TEST_P(LearnerWith, WeightsAloneRestoreToTheSameLosses) {
  Learner first = make(7);
  train(first, 0, 3);
  const std::string full = file("full"), weights = file("weights");
  first.save(full, 3, true, "");
  first.save(weights, 3, false, "");
  const Batch batch(50);
  const auto losses = first.evaluate(batch.tokens, batch.targets, Mode::Causal);
  for (const std::string& path : {full, weights}) {
    Learner second = make(99);
    EXPECT_EQ(second.restore(path, false), 3);
    EXPECT_EQ(second.evaluate(batch.tokens, batch.targets, Mode::Causal), losses);
  }
  Learner second = make(99);
  EXPECT_THROW(second.restore(weights, true), Error);  // no optimizer state in it
  std::filesystem::remove(full);
  std::filesystem::remove(weights);
}

TEST_P(LearnerWith, RefusesTheCheckpointOfAnotherModel) {
  const std::string path = file("foreign");
  make(7).save(path, 1, true, "");
  Spec wider = mixed();
  wider.sublayers[2].fields["d_ffn"] = std::int64_t{11};
  Spec longer = mixed();
  longer.sublayers.push_back(ffn(4));
  Spec shorter = mixed();
  shorter.sublayers.pop_back();
  for (const Spec& spec : {wider, longer, shorter}) {
    Learner other(spec, with_optimizer(GetParam()), kVocab, options("fp32"), test_catalog());
    const std::vector<double> before = other.read_value("embedding.table");
    try {
      other.restore(path, true);
      FAIL();
    } catch (const Error& error) {
      EXPECT_EQ(error.code(), Exit::Storage);
      EXPECT_EQ(std::string(error.what()).find(path), 0u) << error.what();
    }
    EXPECT_EQ(other.read_value("embedding.table"), before);  // nothing was half loaded
  }
  std::filesystem::remove(path);
}

TEST_P(LearnerWith, LearnsARepeatingTextByHeart) {
  Recipe r = with_optimizer(GetParam());
  for (auto& [family, rate] : r.lr) rate = 0.02;
  r.lr_width = 12;
  Learner learner(mixed(), r, kVocab, options("fp32"), test_catalog());
  const std::string text = "abracadabra hocus pocus ";
  std::vector<std::int32_t> tokens, targets;
  for (std::size_t i = 0; i < kBatch * kSeq; ++i) {
    tokens.push_back(text[i % text.size()] % kVocab);
    targets.push_back(text[(i + 1) % text.size()] % kVocab);
  }
  const double before = learner.train(tokens, targets, 0, 100).loss;
  EXPECT_NEAR(before, std::log(kVocab), 0.2);
  for (std::int64_t t = 1; t < 100; ++t) learner.train(tokens, targets, t, 100);
  const auto losses = learner.evaluate(tokens, targets, Mode::Causal);
  EXPECT_LT(std::accumulate(losses.begin(), losses.end(), 0.0) / static_cast<double>(losses.size()),
            0.5);
}

INSTANTIATE_TEST_SUITE_P(Optimizers, LearnerWith,
                         ::testing::ValuesIn(test_catalog().optimizers.names()),
                         [](const auto& it) { return it.param; });

// A plug-in of the tests, whose state no kernel knows.
TEST(Learner, SavesTheStateThatAnOptimizerStates) {
  const testing_support::Folder folder;
  Learner learner(mixed(), with_optimizer("amsgrad"), kVocab, options("fp32"), test_catalog());
  train(learner, 0, 2);
  learner.save(folder.file("a.safetensors"), 2, true, "");
  const SafetensorsFile saved(folder.file("a.safetensors"));
  for (const char* matrix : {"m", "v", "largest"})
    EXPECT_EQ(saved.tensors().at(fmt::format("amsgrad.{}.stack.0.sublayer.1.moe.up", matrix)).shape,
              (std::vector<std::int64_t>{4 * 12, 10}));
}

TEST(Learner, LossIsThatOfItsLogits) {
  Learner learner(mixed(), recipe(kBatch, kSeq), kVocab, options(), builtin_catalog());
  shake(learner, 5);
  const Batch batch(1);
  for (const Mode mode : {Mode::Native, Mode::Causal}) {
    const auto losses = learner.evaluate(batch.tokens, batch.targets, mode);
    const auto logits = learner.logits(batch.tokens, mode);
    for (std::size_t t = 0; t < losses.size(); ++t) {
      const double* row = &logits[t * kVocab];
      double sum = 0;
      for (std::int64_t v = 0; v < kVocab; ++v) sum += std::exp(row[v]);
      EXPECT_NEAR(losses[t], std::log(sum) - row[batch.targets[t]], 1e-10);
    }
  }
}

TEST(Learner, EvaluatesAnyNumberOfWholeMicroBatches) {
  Learner learner(mixed(), recipe(kBatch, kSeq, 2), kVocab, options(), builtin_catalog());
  const Batch batch(1);
  const auto all = learner.evaluate(batch.tokens, batch.targets, Mode::Native);
  ASSERT_EQ(all.size(), batch.tokens.size());
  const std::size_t half = batch.tokens.size() / 2;
  const auto second = learner.evaluate(std::span(batch.tokens).subspan(half),
                                       std::span(batch.targets).subspan(half), Mode::Native);
  for (std::size_t i = 0; i < half; ++i) EXPECT_EQ(second[i], all[half + i]);
  EXPECT_TRUE(learner.evaluate({}, {}, Mode::Native).empty());
  EXPECT_THROW(learner.evaluate(std::span(batch.tokens).first(5), std::span(batch.targets).first(5),
                                Mode::Native),
               Error);
}

TEST(Learner, ThePlanIsWhatItTakes) {
  for (const std::string& optimizer : test_catalog().optimizers.names()) {
    Learner learner(mixed(), with_optimizer(optimizer), kVocab, options("fp32"), test_catalog());
    const MemoryPlan plan =
        Learner::plan(mixed(), with_optimizer(optimizer), kVocab, options("fp32"), test_catalog());
    EXPECT_EQ(learner.memory().total(), plan.total());
    EXPECT_GE(plan.parameters, 4 * learner.params().trained());
    train(learner, 0, 1);  // the arena would refuse more than was planned
    const Batch batch(1);
    learner.evaluate(batch.tokens, batch.targets, Mode::Causal);
  }
}

TEST(Learner, RefusesUnknownNamesInTheRecipe) {
  Recipe r = recipe(kBatch, kSeq);
  r.optimizer = "adamv";
  EXPECT_THROW(Learner::plan(mixed(), r, kVocab, options(), builtin_catalog()), Error);
  r = recipe(kBatch, kSeq);
  r.schedule = "cosine";
  EXPECT_THROW(Learner::plan(mixed(), r, kVocab, options(), builtin_catalog()), Error);
  r = recipe(kBatch, kSeq);
  r.lr.clear();
  EXPECT_THROW(Learner::plan(mixed(), r, kVocab, options(), builtin_catalog()), Error);
}

}  // namespace
}  // namespace moebius::testing
