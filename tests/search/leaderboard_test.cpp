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
    const bool wide = width == 72;
    trial.outcome->measurement.tokens = wide ? 200 : 100;
    trial.outcome->measurement.flops = wide ? 500 : 200;
    history_.add(trial);
    return *this;
  }
  void diverge(const std::string& role, std::int64_t width) {
    add(role, width, 1);
    Trial trial = *history_.find(history_.size() - 1);
    trial.state = TrialState::Diverged;
    history_.update(trial);
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

// Deviation 0.01 in every block: one seed against one leaves 0.15 nats open, eight against eight
// do not.
TEST(Leaderboard, BlocksThatTheirSeedsCannotTellApartShareARank) {
  Board history;
  const auto add = [&](std::int64_t width, double mean, int seeds) {
    for (int i = 0; i < seeds; ++i) history.add("search", width, mean + (i % 2 ? 0.01 : -0.01));
  };
  add(16, 2.00, 8);
  add(32, 2.01, 8);
  add(64, 2.15, 8);
  add(96, 2.16, 1);
  add(128, 9.0, 1);
  const Leaderboard board = leaderboard(history.history());
  const std::int64_t ranks[] = {1, 1, 3, 3, 5};
  ASSERT_EQ(board.rows.size(), 5U);
  for (std::size_t i = 0; i < 5; ++i) {
    EXPECT_EQ(board.rows[i].rank, ranks[i]) << i;
    EXPECT_EQ(board.rows[i].tied, i < 4) << i;
  }
}

TEST(Leaderboard, MoreSeedsTellBlocksApart) {
  for (const int seeds : {2, 12}) {
    Board history;
    for (int i = 0; i < seeds; ++i)
      for (const std::int64_t width : {16, 32})
        history.add("search", width, (width == 16 ? 2 : 2.03) + (i % 2 ? 0.01 : -0.01));
    EXPECT_EQ(leaderboard(history.history()).rows[1].tied, seeds == 2);
  }
}

TEST(Leaderboard, WithoutNoiseNothingIsTied) {
  Board history;
  history.add("baseline", 48, 3.0).add("search", 16, 2.0).add("search", 32, 2.0001);
  const Leaderboard board = leaderboard(history.history());
  EXPECT_TRUE(std::isnan(board.noise.sd));
  for (const Standing& row : board.rows) EXPECT_FALSE(row.tied);
  EXPECT_THAT(leaderboard_notes(board, {"300ktok", " --study s"}), HasSubstr("moebius noise"));
}

TEST(Leaderboard, MarksWhatSeesTheFuture) {
  Board history;
  history.add("baseline", 48, 3.0)
      .add("search", 16, 2.0, "selection")
      .add("search", 32, 2.1, "drops");
  const Leaderboard board = leaderboard(history.history());
  EXPECT_EQ(board.rows[0].block.causal, "selection");
  EXPECT_THAT(leaderboard_notes(board, {"300ktok", " --study s"}), HasSubstr("causal selection"));
  EXPECT_THAT(leaderboard_notes(board, {"300ktok", " --study s"}), HasSubstr("causal drops"));
}

TEST(Leaderboard, StepRatioIsToTheFirstBaseline) {
  Board history;
  history.add("baseline", 48, 3.0).add("search", 96, 2.0);
  EXPECT_DOUBLE_EQ(leaderboard(history.history()).rows[0].block.step_ratio, 2.0);
}

class VerdictTest : public ::testing::Test {
 protected:
  // Seeds of one block with deviation 0.01.
  void add(const std::string& role, std::int64_t width, double mean, int seeds = 1) {
    for (int i = 0; i < seeds; ++i)
      history_.add(role, width, seeds == 1 ? mean : mean + (i % 2 ? 0.01 : -0.01));
  }
  std::string text(const std::string& budget = "300ktok") const {
    return verdict_text(leaderboard(history_.history()).verdict, {budget, " --study s"});
  }
  Board history_;
};

TEST_F(VerdictTest, SaysWhenNothingBeatTheBaseline) {
  add("baseline", 48, 2.00, 8);
  add("search", 16, 2.5);
  EXPECT_THAT(text(), HasSubstr("no block beat glam-nano: the best found, "));
  EXPECT_THAT(text(), HasSubstr("is 0.5000 nats behind ["));
}

TEST_F(VerdictTest, ClaimsNothingThatItsIntervalLeavesOpen) {
  add("baseline", 48, 2.00, 2);
  add("search", 16, 1.98);
  add("rerun", 16, 1.98, 4);
  EXPECT_THAT(text(), HasSubstr("cannot be told apart: 0.0200 nats below it [-"));
}

TEST_F(VerdictTest, JudgesByFreshSeedsAlone) {
  add("baseline", 48, 2.00, 8);
  add("search", 16, 1.90);
  add("rerun", 16, 2.30, 4);
  EXPECT_THAT(text(), HasSubstr("is 0.3000 nats behind"));
}

TEST_F(VerdictTest, ASeedThatChoseABlockMakesNoClaim) {
  add("baseline", 48, 2.00, 8);
  add("search", 16, 1.0);
  add("search", 32, 1.5);
  EXPECT_THAT(text(), HasSubstr("looks 1.0000 nats better than glam-nano ["));
  EXPECT_THAT(text(), HasSubstr("has 0 of the 3 fresh seeds a claim needs: it leads 3 blocks"));
  EXPECT_THAT(text(), HasSubstr("run: moebius noise 8 --study s --seeds 3"));
  EXPECT_THAT(text(), Not(HasSubstr("beats")));
}

TEST_F(VerdictTest, ClaimsAGainByFreshSeeds) {
  add("baseline", 48, 2.00, 4);
  add("search", 16, 1.5);
  add("noise", 16, 1.6, 4);
  EXPECT_THAT(text(), HasSubstr("beats glam-nano by 0.4000 nats ["));
  EXPECT_THAT(text(), HasSubstr("(95 % simultaneous, 4 fresh seeds against 4)"));
  EXPECT_THAT(text(), Not(HasSubstr("a claim needs")));
}

// The first mean over four seeds is below that of the luckier block, which has one.
TEST_F(VerdictTest, JudgesTheConfirmedBlockAndNamesTheLuckyOne) {
  add("baseline", 48, 2.00, 4);
  add("search", 16, 1.60);
  add("rerun", 16, 1.60, 4);
  add("search", 32, 1.59);
  EXPECT_THAT(text(), HasSubstr("(trial 4) beats glam-nano by"));
  EXPECT_THAT(text(), HasSubstr("(trial 9) has the lowest mean by a seed that it was chosen by; to "
                                "judge it: moebius noise 9 --study s --seeds 3"));
}

TEST_F(VerdictTest, AllowsForEachBlockThatHasFreshSeeds) {
  double reach[2];
  for (const bool two : {false, true}) {
    history_ = Board();
    add("baseline", 48, 2.00, 4);
    add("search", 16, 1.6);
    add("rerun", 16, 1.6, 4);
    add("search", 32, 1.7);
    if (two) add("rerun", 32, 1.7, 4);
    reach[two] = leaderboard(history_.history()).verdict.contrasts.front().reach;
  }
  EXPECT_GT(reach[1], reach[0]);
  EXPECT_THAT(text(), HasSubstr("is the best of 2 blocks with fresh seeds"));
}

TEST_F(VerdictTest, DivergedFreshSeedsAreNoClaim) {
  add("baseline", 48, 2.00, 4);
  add("search", 16, 1.6);
  add("rerun", 16, 1.6, 4);
  history_.diverge("rerun", 16);
  EXPECT_THAT(text(), HasSubstr("1 of the fresh seeds"));
  EXPECT_THAT(text(), Not(HasSubstr("beats")));
}

TEST_F(VerdictTest, NamesTheCostAndWhatElseDiffers) {
  add("baseline", 48, 2.00, 4);
  add("search", 72, 1.5);
  add("rerun", 72, 1.5, 4);
  EXPECT_THAT(text("300ktok"), HasSubstr("at equal tokens "));
  EXPECT_THAT(text("300ktok"), HasSubstr("; its step takes 1.50x the time, 1.25x the FLOPs per "
                                         "token, so that a lead at equal time is not shown"));
  EXPECT_THAT(text("500steps"), HasSubstr("at equal steps "));
  EXPECT_THAT(text("2e12flop"), HasSubstr("at equal FLOPs "));
  EXPECT_THAT(text("2e12flop"), HasSubstr("it trained on 2.00x the tokens"));
  EXPECT_THAT(text("20s"), HasSubstr("at equal CPU time "));
  EXPECT_THAT(text("20s"), Not(HasSubstr("not shown")));
  EXPECT_THAT(text("20s:wall"), HasSubstr("at equal wall time "));
}

TEST_F(VerdictTest, WithoutSecondSeedsThereIsNoInterval) {
  add("baseline", 48, 2.00);
  add("search", 16, 1.5);
  EXPECT_THAT(text(), HasSubstr("is 0.5000 nats below glam-nano (no interval"));
}

TEST_F(VerdictTest, SaysWhichSeedsAClaimLacks) {
  add("baseline", 48, 2.00);
  add("search", 16, 1.5);
  add("rerun", 16, 1.5);
  const std::vector<SeedWish> wishes = lacking_seeds(leaderboard(history_.history()).verdict);
  ASSERT_EQ(wishes.size(), 2U);
  EXPECT_EQ(wishes[0].number, 1);
  EXPECT_EQ(wishes[0].missing, 2);
  EXPECT_EQ(wishes[1].number, 0);
  EXPECT_EQ(wishes[1].missing, 2);
}

}  // namespace
}  // namespace moebius
