#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "search/results/statistics.h"
#include "search_support.h"

namespace moebius {
namespace {

using namespace testing_support;

constexpr double kNan = std::numeric_limits<double>::quiet_NaN();

Trial ended(std::int64_t number, TrialState state, double loss, double stopped = kNan) {
  Trial trial;
  trial.number = number;
  trial.role = TrialRole::Search;
  trial.spec_hash = "block" + std::to_string(number);
  trial.state = state;
  trial.outcome.emplace();
  trial.outcome->measurement.loss = loss;
  trial.outcome->measurement.stopped_loss = stopped;
  return trial;
}

TEST(RanksBefore, FinishedByLossThenPrunedByStoppedLossThenTheRest) {
  const std::vector<Trial> order = {
      ended(7, TrialState::Done, 1.0),           ended(2, TrialState::Done, 2.0),
      ended(3, TrialState::Done, 2.0),           ended(1, TrialState::Pruned, kNan, 0.5),
      ended(0, TrialState::Pruned, kNan, 4),     ended(9, TrialState::Pruned, kNan, kNan),
      ended(4, TrialState::Diverged, kNan, 0.1), ended(5, TrialState::OutOfMemory, kNan),
      ended(6, TrialState::Infeasible, kNan),    ended(8, TrialState::Failed, 0.2)};
  for (std::size_t i = 0; i < order.size(); ++i)
    for (std::size_t j = 0; j < order.size(); ++j)
      EXPECT_EQ(ranks_before(order[i], order[j]), i < j) << i << " " << j;
}

TEST(RanksBefore, NeverPutsNanFirst) {
  EXPECT_TRUE(ranks_before(ended(5, TrialState::Done, 9), ended(1, TrialState::Done, kNan)));
  EXPECT_TRUE(std::isnan(ended(1, TrialState::Diverged, 0.5).loss()));
}

TEST(TrialState, TextsRoundTrip) {
  for (const char* text : {"waiting", "running", "done", "pruned", "diverged", "infeasible",
                           "out_of_memory", "failed"})
    EXPECT_EQ(state_text(parse_state(text)), text);
  EXPECT_EQ(error_code([] { parse_state("lost"); }), Exit::Storage);
}

TEST(History, IsReadyWhenEverythingBeforeTheLagIsFinal) {
  History history;
  for (int i = 0; i < 6; ++i) history.add(ended(i, TrialState::Waiting, kNan));
  EXPECT_TRUE(history.ready(3, 4));
  EXPECT_FALSE(history.ready(4, 4));
  history.update(ended(1, TrialState::Done, 1));
  EXPECT_FALSE(history.ready(4, 4));
  history.update(ended(0, TrialState::Diverged, kNan));
  EXPECT_TRUE(history.ready(5, 4));
  EXPECT_FALSE(history.ready(6, 4));
  EXPECT_EQ(history.first_open(), 2);
}

TEST(History, RefusesGapsAndKnowsSpecsOfBaselinesAndSearchTrials) {
  History history;
  EXPECT_EQ(error_code([&] { history.add(ended(1, TrialState::Done, 1)); }), Exit::Bug);
  history.add(ended(0, TrialState::Done, 1));
  Trial noise = ended(1, TrialState::Done, 1);
  noise.role = TrialRole::Noise;
  history.add(noise);
  EXPECT_TRUE(history.seen("block0"));
  EXPECT_FALSE(history.seen("block1"));
  EXPECT_EQ(history.count(TrialRole::Search), 1);
  EXPECT_EQ(history.count(TrialRole::Noise), 1);
  EXPECT_EQ(history.find(2), nullptr);
  EXPECT_EQ(history.find(-1), nullptr);
}

TEST(Statistics, BlocksAreOrderedByTheMeanOverTheirSeeds) {
  History history;
  const char* blocks[] = {"lucky", "steady", "lucky", "steady", "lost"};
  const double losses[] = {1.0, 1.4, 2.4, 1.6, kNan};
  for (int i = 0; i < 5; ++i) {
    Trial trial = ended(i, i == 4 ? TrialState::Diverged : TrialState::Done, losses[i]);
    trial.spec_hash = blocks[i];
    history.add(trial);
  }
  const std::vector<BlockResult> found = by_block(history);
  ASSERT_EQ(found.size(), 2U);
  EXPECT_EQ(found[0].spec_hash, "steady");
  EXPECT_DOUBLE_EQ(found[0].loss.mean, 1.5);
  EXPECT_DOUBLE_EQ(found[1].loss.mean, 1.7);
  EXPECT_DOUBLE_EQ(found[1].loss.sd, std::sqrt(2 * 0.7 * 0.7));
  std::int64_t degrees = 0;
  EXPECT_DOUBLE_EQ(seed_noise(found, degrees), std::sqrt((2 * 0.1 * 0.1 + 2 * 0.7 * 0.7) / 2));
  EXPECT_EQ(degrees, 2);
}

TEST(Statistics, NoiseOfSingleSeedsIsUnknown) {
  History history;
  history.add(ended(0, TrialState::Done, 1));
  std::int64_t degrees = 1;
  EXPECT_TRUE(std::isnan(seed_noise(by_block(history), degrees)));
  EXPECT_EQ(degrees, 0);
  EXPECT_TRUE(std::isnan(summarize({}).mean));
}

}  // namespace
}  // namespace moebius
