// A sub-layer type and a gating that a catalog of a test adds are known wherever the built-in ones
// are.

#include "tests/model/fake_plugins.h"

#include <gtest/gtest.h>

#include "space/cost.h"
#include "space/scale.h"
#include "space/space.h"

namespace moebius::testing {
namespace {

constexpr std::int64_t kBatch = 4, kSeq = 8, kVocab = 13, kWidth = 8;

Spec fake_block() {
  return block(kWidth,
               {attn(2, 4), {"bilinear", {{"d_inner", std::int64_t{6}}}}, moe(5, 4, "hash")});
}

TEST(FakePlugIns, AreReadAndJudgedByTheCatalogThatHasThem) {
  const Json json = to_json(fake_block());
  EXPECT_EQ(read_spec(json, "b.json", fake_catalog().types), fake_block());
  EXPECT_THROW(read_spec(json, "b.json", builtin_catalog().types), Error);
  const auto why = [](const Spec& spec) {
    return why_illegal(spec, fake_catalog().types, recipe(kBatch, kSeq));
  };
  EXPECT_EQ(why(fake_block()), "");
  EXPECT_EQ(why(block(kWidth, {{"bilinear", {{"d_inner", std::int64_t{7}}}}})),
            "/sublayers/0/d_inner: no multiple of 7");
  EXPECT_EQ(why(block(kWidth, {moe(5, 32, "hash")})),
            "/sublayers/0/experts: a host counts up to 16");
}

TEST(FakePlugIns, CostWhatTheyDeclareAndDo) {
  const Recipe r = recipe(kBatch, kSeq);
  const Cost c = cost(fake_block(), fake_catalog().types, r, kVocab);
  Params params;
  const Model model(fake_block(), {kBatch, kSeq, kWidth}, kVocab, fake_catalog(), params);
  EXPECT_EQ(params.trained(), c.parameters);
  // No router: the gating has no weights.
  for (const ParamSlot& slot : params.slots()) EXPECT_NE(slot.role, Role::Router) << slot.name;
  double flops = 0;
  for (const Operation& product :
       Learner::plan(fake_block(), r, kVocab, options(), fake_catalog()).products)
    flops += std::holds_alternative<Attention>(product) ? std::get<Attention>(product).flops()
                                                        : std::get<Matmul>(product).flops();
  EXPECT_EQ(flops, c.step_flops);
}

TEST(FakePlugIns, AreChoicesOfASpaceAndScale) {
  const Json document = Json::parse(R"({"format":"moebius.space/1","name":"s",
    "block":{"sublayers":2,"stacks":1},
    "knobs":{"type":{"per":"sublayer","choices":["bilinear","attn"]},
             "d_inner":{"per":"sublayer","choices":[16,32]}},
    "fixed":{"d_model":16,"heads":2,"head_dim":8},"recipe":{"batch":4,"seq":8}})");
  const Space space = Space::read(document, "s.json", fake_catalog().types);
  EXPECT_EQ(space.size().distinct, 9);  // of each position: attention, or one of two widths
  EXPECT_THROW(Space::read(document, "s.json", builtin_catalog().types), Error);
  const Spec spec = block(768, {{"bilinear", {{"d_inner", std::int64_t{32}}}}}, 24);
  const Spec scaled = scale_block(spec, scale("100m-32e"), scale("1b-64e"), fake_catalog().types);
  EXPECT_EQ(integer(scaled.sublayers[0].fields, "d_inner"), 64);
}

TEST(FakePlugIns, HaveALearningRateOfTheirOwn) {
  const std::string text = R"({"lr":{"dense":0.1,"host":0.3}})";
  const Json document = Json::parse(text);
  Problems problems("r.json");
  const Recipe r = read_recipe(Reader(document, "", problems), fake_catalog().types);
  problems.raise();
  EXPECT_EQ(r.rate(rate_group(fake_block(), fake_catalog().types)), 0.3);
  Spec both = fake_block();  // the highest rank of a block counts, in any order
  both.sublayers.push_back(moe(5, 4, "expert_choice", 1));
  EXPECT_EQ(rate_group(both, fake_catalog().types), "host");
}

// The step's load over all its micro-batches, seen once.
TEST(EndOfStep, ComesOnceForAllMicroBatches) {
  const Recipe r = recipe(kBatch, kSeq, 1);
  Learner learner(fake_block(), r, kVocab, options(), fake_catalog());
  const std::vector<std::int32_t> tokens = random_tokens(kBatch * kSeq, kVocab, 3);
  std::vector<double> share(4, 0);
  for (const std::int32_t id : tokens)
    share[static_cast<std::size_t>(id % 4)] += 1.0 / (kBatch * kSeq);
  learner.train(tokens, tokens, 0, 10);
  const std::string prefix = "stack.0.sublayer.2.moe.";
  const std::vector<double> seen = learner.read_value(prefix + "share");
  for (std::size_t e = 0; e < share.size(); ++e) EXPECT_NEAR(seen[e], share[e], 1e-12) << e;
  EXPECT_EQ(learner.read_value(prefix + "load"), std::vector<double>(4, 0));
  learner.evaluate(tokens, tokens, Mode::Native);
  EXPECT_EQ(learner.read_value(prefix + "share"), seen);
}

TEST(Dropped, CountsThePairsOfTheLastEvaluation) {
  const std::vector<std::int32_t> tokens = random_tokens(kBatch * kSeq, kVocab, 3);
  Learner tight(block(kWidth, {moe(5, 4, "top2", 1)}), recipe(kBatch, kSeq), kVocab, options(),
                builtin_catalog());
  shake(tight, 5);
  tight.evaluate(tokens, tokens, Mode::Native);
  const double dropped = tight.dropped();
  EXPECT_GE(dropped, kBatch * kSeq);  // two choices, one slot per token
  tight.logits(tokens, Mode::Native);
  EXPECT_EQ(tight.dropped(), dropped);
  Learner roomy(block(kWidth, {moe(5, 4, "top2")}), recipe(kBatch, kSeq), kVocab, options(),
                builtin_catalog());
  roomy.evaluate(tokens, tokens, Mode::Causal);
  EXPECT_EQ(roomy.dropped(), 0);
}

}  // namespace
}  // namespace moebius::testing
