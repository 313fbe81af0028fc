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
  const Ranking found = rank_blocks(history);
  ASSERT_EQ(found.blocks.size(), 2U);
  EXPECT_EQ(found.all, 2);
  EXPECT_EQ(found.blocks[0].spec_hash, "steady");
  EXPECT_EQ(found.best->spec_hash, "steady");
  EXPECT_DOUBLE_EQ(found.blocks[0].loss.mean, 1.5);
  EXPECT_DOUBLE_EQ(found.blocks[1].loss.mean, 1.7);
  EXPECT_DOUBLE_EQ(found.blocks[1].loss.sd, std::sqrt(2 * 0.7 * 0.7));
  EXPECT_EQ(found.blocks[1].lowest, 1.0);
  EXPECT_EQ(found.blocks[1].highest, 2.4);
  EXPECT_DOUBLE_EQ(found.noise.sd, std::sqrt((2 * 0.1 * 0.1 + 2 * 0.7 * 0.7) / 2));
  EXPECT_EQ(found.noise.degrees, 2);
}

// A limit stops at the loss beyond which no block can lead.
TEST(Statistics, ALimitGivesTheFirstRowsOfTheWhole) {
  Rng rng(3);
  for (int round = 0; round < 50; ++round) {
    History history;
    for (int i = 0; i < 40; ++i) {
      Trial trial = ended(i, TrialState::Done, static_cast<double>(rng.below(8)));
      trial.role = i < 3 ? TrialRole::Baseline : TrialRole::Search;
      trial.spec_hash = std::to_string(rng.below(15));
      history.add(trial);
    }
    const Ranking all = rank_blocks(history);
    for (const std::int64_t limit : {1, 2, 5, 30}) {
      const Ranking some = rank_blocks(history, limit);
      ASSERT_EQ(some.blocks.size(), std::min(all.blocks.size(), static_cast<std::size_t>(limit)));
      for (std::size_t i = 0; i < some.blocks.size(); ++i)
        EXPECT_EQ(some.blocks[i].number, all.blocks[i].number);
      EXPECT_EQ(some.best->number, all.best->number);
      EXPECT_EQ(some.all, all.all);
      EXPECT_EQ(some.all, static_cast<std::int64_t>(all.blocks.size()));
      EXPECT_EQ(some.noise.degrees, all.noise.degrees);
    }
  }
}

// A trial that is listed by its loss may be held from the time when it ran.
struct RacingSource : TrialSource {
  TrialPtr trial(std::int64_t number) const override {
    Trial trial = ended(number, TrialState::Done, static_cast<double>(number));
    if (number % 2 == 0) {
      trial.state = TrialState::Running;
      trial.outcome.reset();
    }
    return std::make_shared<const Trial>(trial);
  }
  std::vector<std::int64_t> of_block(const std::string& hash) const override {
    return {std::stoll(hash.substr(5))};
  }
  std::vector<std::int64_t> of_role(TrialRole) const override { return {}; }
  std::vector<std::int64_t> by_loss(std::int64_t) const override { return {0, 1, 2, 3, 4, 5}; }
  std::vector<std::string> repeated() const override { return {"block0", "block1"}; }
};

TEST(Statistics, ATrialThatHasNoLossYetIsNoRow) {
  StudyCounts counts;
  counts.trials[{TrialRole::Search, TrialState::Done}] = 6;
  const History history(counts, std::make_shared<RacingSource>());
  for (const std::int64_t limit : {0, 2, 6}) {
    const Ranking ranking = rank_blocks(history, limit);
    ASSERT_EQ(ranking.blocks.size(), limit == 2 ? 2U : 3U);
    EXPECT_EQ(ranking.blocks[0].number, 1);
    EXPECT_EQ(ranking.best->number, 1);
  }
}

TEST(Statistics, NoiseOfSingleSeedsIsUnknown) {
  History history;
  history.add(ended(0, TrialState::Done, 1));
  const Noise noise = rank_blocks(history).noise;
  EXPECT_TRUE(std::isnan(noise.sd));
  EXPECT_EQ(noise.degrees, 0);
  EXPECT_TRUE(std::isnan(summarize({}).mean));
}

// Trials by number, counting how often they are read.
struct CountingSource : TrialSource {
  TrialPtr trial(std::int64_t number) const override {
    ++reads;
    return std::make_shared<const Trial>(ended(number, TrialState::Done, 1));
  }
  std::vector<std::int64_t> of_block(const std::string&) const override { return {}; }
  std::vector<std::int64_t> of_role(TrialRole) const override { return {}; }
  std::vector<std::int64_t> by_loss(std::int64_t) const override { return {}; }
  std::vector<std::string> repeated() const override { return {}; }
  mutable int reads = 0;
};

TEST(History, ReadsWhatItIsAskedForAndLetsGoOfOldTrials) {
  const auto source = std::make_shared<CountingSource>();
  StudyCounts counts;
  counts.trials[{TrialRole::Search, TrialState::Done}] = 5000;
  History history(counts, source);
  EXPECT_EQ(history.size(), 5000);
  EXPECT_EQ(history.find(7)->number, 7);
  history.find(7);
  EXPECT_EQ(source->reads, 1);
  const History copy = history;
  EXPECT_EQ(copy.find(7), history.find(7)) << "shared";
  history.find(2000);
  EXPECT_EQ(source->reads, 2);
  history.trim();
  history.find(7);
  EXPECT_EQ(source->reads, 2) << "the first trials stay";
  history.find(2000);
  EXPECT_EQ(source->reads, 3);
  history.add(ended(5000, TrialState::Waiting, kNan));
  EXPECT_EQ(history.first_open(), 5000);
  history.trim();
  history.find(5000);
  EXPECT_EQ(source->reads, 3);
}

}  // namespace
}  // namespace moebius
