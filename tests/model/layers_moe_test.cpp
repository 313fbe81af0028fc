// What a mixture of experts must be equal to, whatever its weights.

#include <gtest/gtest.h>

#include "tests/model/model_support.h"

namespace moebius::testing {
namespace {

constexpr std::int64_t kBatch = 4, kSeq = 8, kVocab = 13, kWidth = 8;

struct Batch {
  std::vector<std::int32_t> tokens = random_tokens(kBatch * kSeq, kVocab, 3);
  std::vector<std::int32_t> targets = random_tokens(kBatch * kSeq, kVocab, 4);
};

Learner learner(const Spec& spec) {
  Recipe r = recipe(kBatch, kSeq);
  r.aux = 0;  // with one expert, the balance loss is constant, but the z-loss is not
  return Learner(spec, r, kVocab, options(), builtin_catalog());
}

void expect_near(const std::vector<double>& got, const std::vector<double>& want,
                 double tolerance) {
  ASSERT_EQ(got.size(), want.size());
  for (std::size_t i = 0; i < got.size(); ++i) ASSERT_NEAR(got[i], want[i], tolerance) << i;
}

class OneExpert : public ::testing::TestWithParam<std::string> {};

TEST_P(OneExpert, IsTheFeedForwardNetwork) {
  Learner dense = learner(block(kWidth, {attn(2, 4), ffn(6, GetParam())}));
  Learner sparse =
      learner(block(kWidth, {attn(2, 4), moe(6, 1, "top1", 0, "sequence", GetParam())}));
  shake(dense, 5);
  shake(sparse, 5);
  const std::string prefix = "stack.0.sublayer.1.";
  const auto twin = [&](const std::string& slot) {
    return slot.starts_with(prefix + "ffn") ? prefix + "moe" + slot.substr(prefix.size() + 3)
                                            : slot;
  };
  for (const ParamSlot& slot : dense.params().slots())
    sparse.write_value(twin(slot.name), dense.read_value(slot.name));

  const Batch batch;
  expect_near(sparse.evaluate(batch.tokens, batch.targets, Mode::Native),
              dense.evaluate(batch.tokens, batch.targets, Mode::Native), 1e-12);
  dense.gradients(batch.tokens, batch.targets);
  sparse.gradients(batch.tokens, batch.targets);
  for (const ParamSlot& slot : dense.params().slots())
    expect_near(sparse.read_gradient(twin(slot.name)), dense.read_gradient(slot.name), 1e-12);
}

INSTANTIATE_TEST_SUITE_P(Activations, OneExpert,
                         ::testing::Values("relu", "gelu", "gated_relu", "gated_gelu",
                                           "squared_relu", "gated_silu"),
                         [](const auto& it) { return it.param; });

// Identical experts under gates that sum to one are the dense layer.
TEST(IdenticalExperts, WithRenormalisedGatesAreTheFeedForwardNetwork) {
  Learner dense = learner(block(kWidth, {ffn(6)}));
  Learner sparse = learner(block(kWidth, {moe(6, 4, "top2")}));
  shake(dense, 5);
  shake(sparse, 5);
  for (const ParamSlot& slot : dense.params().slots()) {
    const std::size_t at = slot.name.find("ffn");
    const std::vector<double> values = dense.read_value(slot.name);
    if (at == std::string::npos) {
      sparse.write_value(slot.name, values);
      continue;
    }
    std::vector<double> copies;
    for (int e = 0; e < 4; ++e) copies.insert(copies.end(), values.begin(), values.end());
    sparse.write_value(std::string(slot.name).replace(at, 3, "moe"), copies);
  }
  const Batch batch;
  expect_near(sparse.evaluate(batch.tokens, batch.targets, Mode::Native),
              dense.evaluate(batch.tokens, batch.targets, Mode::Native), 1e-7);  // sum + 1e-9
}

class Routed : public ::testing::TestWithParam<std::pair<std::string, double>> {
 protected:
  Spec spec() const {
    return block(kWidth, {attn(2, 4), moe(6, 4, GetParam().first, GetParam().second), ffn(6)});
  }
};

// Which expert is called number 0 does not matter.
TEST_P(Routed, IgnoresTheNamesOfExperts) {
  Learner before = learner(spec()), after = learner(spec());
  shake(before, 5);
  shake(after, 5);
  const std::vector<std::size_t> name = {2, 0, 3, 1};
  const std::string prefix = "stack.0.sublayer.1.moe.";
  const std::vector<double> router = before.read_value(prefix + "router");  // [D, E]
  std::vector<double> renamed(router.size());
  for (std::size_t i = 0; i < router.size(); ++i) renamed[i / 4 * 4 + name[i % 4]] = router[i];
  after.write_value(prefix + "router", renamed);
  for (const char* part : {"up", "down"}) {
    const std::vector<double> values = before.read_value(prefix + part);
    const std::size_t size = values.size() / 4;
    std::vector<double> moved(values.size());
    for (std::size_t i = 0; i < values.size(); ++i)
      moved[name[i / size] * size + i % size] = values[i];
    after.write_value(prefix + part, moved);
  }
  const Batch batch;
  expect_near(after.evaluate(batch.tokens, batch.targets, Mode::Native),
              before.evaluate(batch.tokens, batch.targets, Mode::Native), 1e-12);
}

// The order of sequences in a batch does not matter to groups within a sequence.
TEST_P(Routed, PermutingTheBatchPermutesTheLosses) {
  Learner model = learner(spec());
  shake(model, 5);
  const Batch batch;
  Batch permuted;
  const std::vector<std::size_t> order = {3, 1, 0, 2};
  for (std::size_t b = 0; b < order.size(); ++b)
    for (std::size_t s = 0; s < kSeq; ++s) {
      permuted.tokens[b * kSeq + s] = batch.tokens[order[b] * kSeq + s];
      permuted.targets[b * kSeq + s] = batch.targets[order[b] * kSeq + s];
    }
  const auto losses = model.evaluate(batch.tokens, batch.targets, Mode::Native);
  const auto moved = model.evaluate(permuted.tokens, permuted.targets, Mode::Native);
  for (std::size_t b = 0; b < order.size(); ++b)
    for (std::size_t s = 0; s < kSeq; ++s)
      ASSERT_EQ(moved[b * kSeq + s], losses[order[b] * kSeq + s]) << b << " " << s;
}

// Every gating of the catalog under every capacity that it takes; 0 is "none".
std::vector<std::pair<std::string, double>> gatings_and_capacities() {
  const Catalog& catalog = builtin_catalog();
  std::vector<std::pair<std::string, double>> result;
  for (const std::string& gating : catalog.gatings.names())
    for (const double capacity : {0.0, 1.0, 2.0})
      if (why_illegal(block(kWidth, {moe(6, 4, gating, capacity)}), catalog.types,
                      TokenShape{.batch = kBatch, .seq = kSeq})
              .empty())
        result.emplace_back(gating, capacity);
  return result;
}

INSTANTIATE_TEST_SUITE_P(Gatings, Routed, ::testing::ValuesIn(gatings_and_capacities()),
                         [](const auto& it) {
                           return it.param.first + "_c" +
                                  std::to_string(static_cast<int>(it.param.second));
                         });

TEST(StepStatistics, CountKeptAndDroppedPairs) {
  const Batch batch;
  const double tokens = kBatch * kSeq;
  Learner dropless = learner(block(kWidth, {moe(6, 4, "top2"), moe(6, 4, "top2")}));
  const StepResult all = dropless.gradients(batch.tokens, batch.targets);
  EXPECT_EQ(all.kept, 2 * 2 * tokens);
  EXPECT_EQ(all.dropped, 0);
  // Sums over the two routers, not means: a fresh router is near balance, where each has 1.
  EXPECT_NEAR(all.aux, 2, 0.2);
  EXPECT_NEAR(all.z, 2 * std::pow(std::log(4), 2), 0.2);

  Learner tight = learner(block(kWidth, {moe(6, 4, "top2", 1)}));
  shake(tight, 5);
  const StepResult some = tight.gradients(batch.tokens, batch.targets);
  EXPECT_EQ(some.kept + some.dropped, 2 * tokens);
  EXPECT_LE(some.kept, tokens);
  EXPECT_GE(some.aux, 1 - 1e-9);  // 1 at balance

  Learner chosen = learner(block(kWidth, {moe(6, 4, "expert_choice", 2)}));
  const StepResult full = chosen.gradients(batch.tokens, batch.targets);
  EXPECT_EQ(full.kept, 2 * tokens);  // exactly C per expert
  EXPECT_EQ(full.aux, 0);
}

}  // namespace
}  // namespace moebius::testing
