#include "search/scaling/scaling.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "search_support.h"

namespace moebius {
namespace {

using namespace testing_support;

// Three blocks with two, one and one seeds, and a baseline.
History some_history(const Space& space) {
  History history;
  const std::uint64_t draws[] = {0, 1, 1, 2, 3};
  const double losses[] = {2.5, 2.0, 3.0, 2.2, 2.4};
  for (std::int64_t i = 0; i < 5; ++i) {
    Trial trial;
    trial.number = i;
    trial.role = i == 0 ? TrialRole::Baseline : i == 2 ? TrialRole::Rerun : TrialRole::Search;
    Rng rng(draws[i] + 10);
    trial.spec = i == 0 ? space_baseline(space, space.baselines().front(), types())
                        : space.resolve(space.sample(rng));
    trial.spec_hash = spec_hash(trial.spec);
    trial.state = TrialState::Done;
    trial.outcome.emplace();
    trial.outcome->measurement.loss = losses[i];
    trial.outcome->measurement.flops = 4e9;
    trial.outcome->measurement.cpu_seconds = i == 4 ? 4 : 1;
    history.add(trial);
  }
  return history;
}

TEST(Scaling, FinalistsAreChosenByTheMeanOverTheirSeeds) {
  const Space space = small_space();
  ScaleRequest request;
  request.to = "mini";
  request.top = 2;
  request.backend = "reference";
  request.recipe = space.recipe();
  const std::vector<ScaledBlock> blocks =
      scaled_blocks(some_history(space), space, builtin_catalog(), request);
  ASSERT_EQ(blocks.size(), 4U);  // and two baselines
  EXPECT_EQ(blocks[0].trial, 3);
  EXPECT_EQ(blocks[1].trial, 4);
  EXPECT_EQ(blocks[0].name, "t3-mini");
  EXPECT_EQ(blocks[2].name, "dense-mini");
  EXPECT_EQ(blocks[2].trial, -1);
  EXPECT_DOUBLE_EQ(blocks[2].proxy_loss, 2.5);
  EXPECT_EQ(blocks[3].name, "llama-mini");
  EXPECT_TRUE(std::isnan(blocks[3].proxy_loss));
  const Scale mini = scale("mini");
  for (const ScaledBlock& block : blocks) {
    EXPECT_EQ(block.spec.depth(), mini.sublayers);
    EXPECT_EQ(block.recipe.batch, mini.batch);
    EXPECT_EQ(block.recipe.seq, mini.seq);
    EXPECT_EQ(block.recipe.batch % block.recipe.micro_batch, 0);
    EXPECT_GT(block.peak_bytes, 4 * block.cost.parameters);
    EXPECT_GT(block.optimizer_bytes, 0);
  }
  EXPECT_DOUBLE_EQ(blocks[2].flops_ratio, 1);  // the first baseline
  EXPECT_DOUBLE_EQ(blocks[2].proxy_flops_ratio, 1);
}

TEST(Scaling, AMatchedBlockKeepsTheCostAtWhichItWon) {
  const Space space = small_space();
  ScaleRequest request;
  request.to = "1b-64e";
  request.top = 3;
  request.backend = "reference";
  request.recipe = space.recipe();
  request.match_flops = true;
  const auto blocks = scaled_blocks(some_history(space), space, builtin_catalog(), request);
  ASSERT_EQ(blocks.size(), 5U);
  for (const ScaledBlock& block : blocks) {
    if (block.trial < 0) continue;
    EXPECT_NEAR(block.flops_ratio / block.proxy_flops_ratio, 1, 0.02) << block.name;
  }
}

// Routing groups that span the batch forbid micro-batches; a dense block would take small ones.
TEST(Scaling, BlocksThatNeedDifferentMicroBatchesShareTheLargest) {
  Json document = small_space_document();
  document["knobs"]["type"]["choices"] = {"attn", "moe"};
  document["knobs"].erase("d_ffn");
  document["fixed"].update(
      {{"d_moe", 64}, {"experts", 8}, {"gating", "top2"}, {"capacity", 1}, {"group", "batch"}});
  const Space space = read_space(document);
  ScaleRequest request;
  request.to = "100m-32e";
  request.top = 1;
  request.backend = "reference";
  request.recipe = space.recipe();
  request.baselines = false;
  const auto alone = scaled_blocks(some_history(space), space, builtin_catalog(), request);
  ASSERT_EQ(alone.size(), 1U);
  EXPECT_EQ(alone[0].recipe.micro_batch, 64);
  request.baselines = true;
  const auto blocks = scaled_blocks(some_history(space), space, builtin_catalog(), request);
  ASSERT_EQ(blocks.size(), 3U);
  for (const ScaledBlock& block : blocks) EXPECT_EQ(block.recipe, alone[0].recipe) << block.name;
}

TEST(Scaling, MoreFinalistsThanBlocksAreBadInput) {
  const Space space = small_space();
  ScaleRequest request;
  request.to = "mini";
  request.recipe = space.recipe();
  std::string line;
  EXPECT_EQ(
      error_code([&] { scaled_blocks(some_history(space), space, builtin_catalog(), request); },
                 &line),
      Exit::BadInput);
  EXPECT_THAT(line, ::testing::HasSubstr("only 3 blocks have a loss; allowed: 1..3"));
  EXPECT_EQ(error_code([&] { scaled_blocks({}, space, builtin_catalog(), request); }),
            Exit::NoUsableTrial);
}

}  // namespace
}  // namespace moebius
