#include "search/report/leaderboard.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>

#include "search/commands/options.h"

namespace moebius {
namespace {

using testing::HasSubstr;
using testing::Not;

// A history of finished trials; specs differ by d_model.
class Board {
 public:
  Board& add(const std::string& role_name, std::int64_t width, double loss,
             const std::string& causal = "yes") {
    Trial trial;
    trial.number = static_cast<std::int64_t>(history_.trials().size());
    const TrialRole role = parse_role(role_name);
    trial.role = role;
    trial.spec = baseline("glam-nano", layer_types());
    trial.spec.d_model = width;
    trial.spec_hash = spec_hash(trial.spec);
    trial.label = role == TrialRole::Baseline ? "glam-nano" : "";
    trial.state = TrialState::Done;
    trial.seed = static_cast<std::uint64_t>(trial.number);
    trial.outcome.emplace();
    trial.outcome->ending = Ending::Done;
    trial.outcome->measurement.loss = loss;
    trial.outcome->measurement.causal = causal;
    trial.outcome->measurement.step_seconds = static_cast<double>(width);
    history_.add(trial);
    return *this;
  }
  const History& history() const { return history_; }

 private:
  History history_;
};

TEST(Leaderboard, SeedsOfOneBlockAreOneRow) {
  Board history;
  history.add("baseline", 48, 2.0).add("baseline", 48, 2.2).add("search", 64, 1.5);
  const Leaderboard board = leaderboard(history.history());
  ASSERT_EQ(board.rows.size(), 2U);
  EXPECT_EQ(board.rows[0].block.number, 2);
  EXPECT_DOUBLE_EQ(board.rows[1].block.loss.mean, 2.1);
  EXPECT_EQ(board.rows[1].block.loss.n, 2);
  EXPECT_NEAR(board.noise.sd, std::sqrt(0.02), 1e-12);
  EXPECT_DOUBLE_EQ(board.baseline_loss, 2.1);
}

TEST(Leaderboard, BlocksWithinTwiceTheNoiseShareARank) {
  Board history;
  history.add("baseline", 48, 3.00).add("baseline", 48, 3.02);  // noise 0.0141
  history.add("search", 16, 2.00).add("search", 32, 2.02).add("search", 64, 2.04);
  const Leaderboard board = leaderboard(history.history());
  ASSERT_EQ(board.rows.size(), 4U);
  EXPECT_EQ(board.rows[0].rank, 1);
  EXPECT_TRUE(board.rows[0].tied);
  EXPECT_EQ(board.rows[1].rank, 1);
  EXPECT_TRUE(board.rows[1].tied);
  EXPECT_EQ(board.rows[2].rank, 3);  // 0.04 above the first of the group: no chain of ties
  EXPECT_FALSE(board.rows[2].tied);
  EXPECT_EQ(board.rows[3].rank, 4);
}

TEST(Leaderboard, WithoutNoiseNothingIsTied) {
  Board history;
  history.add("baseline", 48, 3.0).add("search", 16, 2.0).add("search", 32, 2.0001);
  const Leaderboard board = leaderboard(history.history());
  EXPECT_TRUE(std::isnan(board.noise.sd));
  for (const Standing& row : board.rows) EXPECT_FALSE(row.tied);
  EXPECT_THAT(leaderboard_notes(board, "s"), HasSubstr("moebius noise"));
}

TEST(Leaderboard, MarksWhatSeesTheFuture) {
  Board history;
  history.add("baseline", 48, 3.0)
      .add("search", 16, 2.0, "selection")
      .add("search", 32, 2.1, "drops");
  const Leaderboard board = leaderboard(history.history());
  EXPECT_EQ(board.rows[0].block.causal, "selection");
  EXPECT_THAT(leaderboard_notes(board, "s"), HasSubstr("causal selection"));
  EXPECT_THAT(leaderboard_notes(board, "s"), HasSubstr("causal drops"));
}

TEST(Leaderboard, StepRatioIsToTheFirstBaseline) {
  Board history;
  history.add("baseline", 48, 3.0).add("search", 96, 2.0);
  EXPECT_DOUBLE_EQ(leaderboard(history.history()).rows[0].block.step_ratio, 2.0);
}

TEST(Verdict, SaysWhenNothingBeatTheBaseline) {
  Board history;
  history.add("baseline", 48, 2.00).add("baseline", 48, 2.01).add("search", 16, 2.5);
  EXPECT_THAT(verdict(leaderboard(history.history())), HasSubstr("no block beat glam-nano"));
}

TEST(Verdict, ClaimsNothingWithinTheNoise) {
  Board history;
  history.add("baseline", 48, 2.00).add("baseline", 48, 2.10).add("search", 16, 2.0);
  EXPECT_THAT(verdict(leaderboard(history.history())), HasSubstr("cannot be told apart"));
}

TEST(Verdict, JudgesByFreshSeedsAlone) {
  Board history;
  for (int i = 0; i < 8; ++i) history.add("baseline", 48, 2.00);
  history.add("search", 16, 1.90).add("rerun", 16, 2.20).add("rerun", 16, 2.20);
  EXPECT_THAT(verdict(leaderboard(history.history())), HasSubstr("is 0.2000 nats behind"));
}

TEST(Verdict, NamesGainAndNoise) {
  Board history;
  history.add("baseline", 48, 2.00).add("baseline", 48, 2.01).add("search", 16, 1.5);
  const std::string text = verdict(leaderboard(history.history()));
  EXPECT_THAT(text, HasSubstr("looks 0.5050 nats better than glam-nano (noise 0.0071)"));
  EXPECT_THAT(text, HasSubstr("0 of the 3 fresh seeds"));
}

TEST(Verdict, ClaimsAGainOnlyByFreshSeeds) {
  Board history;
  history.add("baseline", 48, 2.00).add("baseline", 48, 2.01).add("search", 16, 1.5);
  history.add("noise", 16, 1.6).add("noise", 16, 1.6).add("noise", 16, 1.6);
  const std::string text = verdict(leaderboard(history.history()));
  EXPECT_THAT(text, HasSubstr("beats glam-nano by 0.4050 nats"));
  EXPECT_THAT(text, Not(HasSubstr("a claim needs")));
}

}  // namespace
}  // namespace moebius
