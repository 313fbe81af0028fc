#include "search/study/study.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <deque>

#include "search/study/worker_pool.h"
#include "study_support.h"

namespace moebius {
namespace {

using namespace testing_support;
using ::testing::ElementsAre;
using ::testing::HasSubstr;

PoolObserver silent;

TEST_F(StudyTest, BaselinesComeFirstSeedBySeed) {
  StudyConfig config = study_config(space, 3);
  config.baseline_seeds = 2;
  Study study = make(config);
  const History history = study.history();
  ASSERT_EQ(history.trials().size(), 4U);
  const char* labels[] = {"dense-nano", "llama-nano", "dense-nano", "llama-nano"};
  for (std::int64_t i = 0; i < 4; ++i) {
    const Trial& trial = *history.find(i);
    EXPECT_EQ(trial.role, TrialRole::Baseline);
    EXPECT_EQ(trial.label, labels[i]);
    EXPECT_EQ(trial.seed, seeds(study).of(TrialRole::Baseline, i < 2 ? 0 : 1));
    EXPECT_EQ(trial.parent, i < 2 ? -1 : i - 2);
  }
  finish(study);
  EXPECT_EQ(study.history().count(TrialRole::Search), 3);
  for (const Trial& trial : study.history().trials())
    if (trial.role == TrialRole::Search) {
      EXPECT_EQ(trial.seed, history.find(0)->seed);  // the same batches in the same order
      EXPECT_FALSE(trial.point.empty());
    }
}

TEST_F(StudyTest, NothingIsProposedBeforeEveryBaselineIsFinal) {
  Study study = make(study_config(space, 5));
  const Trial first = *study.ask().trial, second = *study.ask().trial;
  EXPECT_TRUE(waits(study.ask()));
  study.tell(first, FakeEvaluator::done(study.candidate(first)));
  EXPECT_EQ(study.ask().trial, std::nullopt);
  study.tell(second, FakeEvaluator::done(study.candidate(second)));
  EXPECT_EQ(study.ask().trial->role, TrialRole::Search);
}

TEST_F(StudyTest, EndsWhenTheGateBaselineDoes) {
  Study study = make(study_config(space, 5));
  Outcome diverged;
  diverged.ending = Ending::Diverged;
  diverged.message = "loss nan at step 3";
  study.tell(*study.ask().trial, diverged);
  const Trial second = *study.ask().trial;
  study.tell(second, FakeEvaluator::done(study.candidate(second)));
  std::string line;
  EXPECT_EQ(error_code([&] { study.ask(); }, &line), Exit::NoUsableTrial);
  EXPECT_THAT(line, HasSubstr("dense-nano is diverged: loss nan at step 3"));
}

TEST_F(StudyTest, ATrialStartsWhenAllBeforeTheLagAreFinal) {
  Study study = make(study_config(space, 20));
  std::deque<Trial> running;
  for (int i = 0; i < 2; ++i) {
    const Trial trial = *study.ask().trial;
    study.tell(trial, FakeEvaluator::done(study.candidate(trial)));
  }
  while (std::optional<Trial> trial = study.ask().trial) running.push_back(*trial);
  EXPECT_TRUE(waits(study.ask()));
  ASSERT_EQ(running.size(), 4U);  // numbers 2..5; 6 needs 2
  for (const std::size_t i : {3U, 1U, 2U})
    study.tell(running[i], FakeEvaluator::done(study.candidate(running[i])));
  EXPECT_EQ(study.ask().trial, std::nullopt);
  study.tell(running[0], FakeEvaluator::done(study.candidate(running[0])));
  for (std::int64_t number = 6; number < 10; ++number) EXPECT_EQ(study.ask().trial->number, number);
  EXPECT_EQ(study.ask().trial, std::nullopt);
}

TEST_F(StudyTest, TheTableDoesNotDependOnWorkersOrTime) {
  const StudyConfig config = study_config(space, 40);
  const std::vector<TableRow> alone = finished_table(config);
  for (int workers = 1; workers <= 4; ++workers) {
    db = open_db("memory:", OpenMode::Create);
    Study study = make(config);
    evaluator.max_sleep = 3000;
    PoolOptions pool;
    pool.workers = workers;
    pool.memory_limit = 1 << 20;
    ASSERT_TRUE(run_pool(study, evaluator, pool, silent));
    EXPECT_EQ(table(study.history()), alone) << workers << " workers";
  }
}

TEST_F(StudyTest, TheTableDoesNotDependOnTheOrderInWhichTrialsEnd) {
  const StudyConfig config = study_config(space, 40);
  const std::vector<TableRow> in_order = finished_table(config);
  for (std::uint64_t seed = 0; seed < 10; ++seed) {
    db = open_db("memory:", OpenMode::Create);
    Study study = make(config);
    Rng rng(seed);
    std::vector<Trial> running;
    while (true) {
      std::optional<Trial> trial;
      if (running.empty() || rng.below(2) == 0) trial = study.ask().trial;
      if (trial) {
        running.push_back(*trial);
        continue;
      }
      if (running.empty()) break;
      const auto chosen = running.begin() + static_cast<std::ptrdiff_t>(rng.below(running.size()));
      study.tell(*chosen, FakeEvaluator::done(study.candidate(*chosen)));
      running.erase(chosen);
    }
    EXPECT_EQ(table(study.history()), in_order) << seed;
  }
}

TEST_F(StudyTest, TheTableDoesNotDependOnCrashes) {
  const StudyConfig config = study_config(space, 30);
  const std::vector<TableRow> undisturbed = finished_table(config);
  db = open_db("memory:", OpenMode::Create);
  Rng rng(11);
  std::vector<TableRow> rows;
  for (bool complete = false; !complete;) {
    Study study = make(config);  // a new process; trials that ran are lost
    for (std::uint64_t steps = rng.below(8) + 1; steps > 0 && !complete; --steps) {
      const std::optional<Trial> trial = study.ask().trial;
      if (trial && rng.below(4) > 0)
        study.tell(*trial, FakeEvaluator::done(study.candidate(*trial)));
      complete = study.complete();
    }
    rows = table(study.history());
  }
  EXPECT_EQ(rows, undisturbed);
}

TEST_F(StudyTest, ALostAttemptCountsAndAStoppedOneDoesNot) {
  const StudyConfig config = study_config(space, 3);
  EXPECT_EQ(make(config).ask().trial->attempt, 1);
  {
    Study study = make(config);
    const Trial trial = *study.ask().trial;
    EXPECT_EQ(trial.number, 0);
    EXPECT_EQ(trial.attempt, 2);
    Outcome stopped;
    stopped.ending = Ending::Stopped;
    study.tell(trial, stopped);
  }
  EXPECT_EQ(make(config).ask().trial->attempt, 2);
}

// The population is a fifth of the trials that a study was made with, and stays.
TEST_F(StudyTest, MoreTrialsContinueTheStudyWithThePopulationItBeganWith) {
  const std::vector<TableRow> first = finished_table(study_config(space, 20));
  const std::vector<TableRow> more = finished_table(study_config(space, 100));
  ASSERT_EQ(more.size(), 102U);
  EXPECT_TRUE(std::equal(first.begin(), first.end(), more.begin()));
  EXPECT_EQ(db->find_study("first")->settings.options["sampler_options"],
            Json({{"population", 4}}));

  db = open_db("memory:", OpenMode::Create);
  StudyConfig config = study_config(space, 100);
  config.sampler_options = {{"population", std::int64_t{4}}};
  EXPECT_EQ(finished_table(config), more);
  db = open_db("memory:", OpenMode::Create);
  EXPECT_NE(finished_table(study_config(space, 100)), more);  // a population of 20
}

TEST_F(StudyTest, SeedBlocksComeFirstAndOnce) {
  StudyConfig config = study_config(space, 10);
  config.seeds = {block(1), block(2), block(1)};
  for (int run = 0; run < 2; ++run) {
    Study study = make(config);
    ASSERT_EQ(study.history().trials().size(), 4U);
    EXPECT_EQ(study.history().find(2)->spec, block(1));
    EXPECT_EQ(study.history().find(3)->spec, block(2));
    EXPECT_EQ(study.history().find(2)->op, Operator::Enqueued);
  }
  Study study = make(config);
  finish(study);
  EXPECT_EQ(study.history().count(TrialRole::Search), 10);
}

TEST_F(StudyTest, BadOptionsWriteNothing) {
  const auto refused = [&](auto&& change) {
    StudyConfig config = study_config(space, 5);
    change(config);
    EXPECT_EQ(error_code([&] { make(config); }), Exit::BadInput);
    EXPECT_TRUE(db->studies().empty());
  };
  refused([](StudyConfig& config) { config.lag = 0; });
  refused([](StudyConfig& config) { config.sampler = "evolve"; });
  refused([](StudyConfig& config) { config.sampler_options = {{"population", std::int64_t{0}}}; });
  refused([](StudyConfig& config) { config.sampler_options = {{"populace", std::int64_t{9}}}; });
  refused([&](StudyConfig& config) {
    Spec no_attention = block(1);
    for (SubLayer& layer : no_attention.sublayers)
      layer = {"ffn", {{"d_ffn", std::int64_t{64}}, {"activation", std::string("gelu")}}};
    config.seeds = {no_attention};
  });
}

TEST_F(StudyTest, MoreWorkersThanTheLagAreBadInput) {
  Study study = make(study_config(space, 5));
  PoolOptions pool;
  pool.workers = 5;
  std::string line;
  EXPECT_EQ(error_code([&] { run_pool(study, evaluator, pool, silent); }, &line), Exit::BadInput);
  EXPECT_THAT(line, HasSubstr("--lag"));
  EXPECT_THAT(line, HasSubstr("1..4"));
}

TEST_F(StudyTest, AddedTrialsGetSeedsTheBlockHasNotHad) {
  Study study = make(study_config(space, 2));
  finish(study);
  const Trial searched = *study.history().find(2);
  EXPECT_THAT(study.add({searched.spec}, TrialRole::Rerun, 2, 2), ElementsAre(4, 5));
  EXPECT_THAT(study.add({searched.spec}, TrialRole::Noise, -1, 1), ElementsAre(6));
  const Spec fresh = block(99);
  EXPECT_THAT(study.add({fresh}, TrialRole::Noise, -1, 2), ElementsAre(7, 8));
  const History history = study.history();
  for (const std::uint64_t k : {0, 1, 2})
    EXPECT_EQ(history.find(4 + static_cast<std::int64_t>(k))->seed,
              seeds(study).of(TrialRole::Noise, k));
  EXPECT_EQ(history.find(7)->seed, seeds(study).of(TrialRole::Noise, 0));
  EXPECT_EQ(history.find(8)->seed, seeds(study).of(TrialRole::Noise, 1));
  EXPECT_EQ(history.find(4)->parent, 2);
  EXPECT_FALSE(study.complete());
  finish(study);
  EXPECT_TRUE(study.complete());
}

TEST_F(StudyTest, ScaledBlocksAreAddedOnceAndSayWhatTheyWereScaledFrom) {
  StudyConfig config = study_config(space, 0);
  make(config).add_scaled({{"t3-nano", block(50)}});
  Study study = make(config);
  study.add_scaled({{"t3-nano", block(50)}, {"t9-nano", block(51)}, {"t4-nano", block(51)}});
  const History history = study.history();
  ASSERT_EQ(history.count(TrialRole::Scaled), 2);
  EXPECT_EQ(history.find(2)->label, "t3-nano");
  EXPECT_EQ(history.find(3)->label, "t9-nano");
  EXPECT_EQ(history.find(3)->spec, block(51));
  EXPECT_EQ(history.find(3)->seed, seeds(study).of(TrialRole::Scaled, 0));
  EXPECT_EQ(history.find(3)->parent, -1);
}

TEST_F(StudyTest, EnqueueingAKnownBlockGivesItsNumber) {
  Study study = make(study_config(space, 2));
  finish(study);
  const Spec known = study.history().find(3)->spec;
  EXPECT_THAT(study.add({known, block(50), block(50)}, TrialRole::Search, -1, 1),
              ElementsAre(3, 4, 4));
  finish(study);
  EXPECT_EQ(study.history().find(4)->state, TrialState::Done);
}

TEST_F(StudyTest, SearchTrialsAreComparedWithTheFirstBaseline) {
  StudyConfig config = study_config(space, 2);
  config.stopper_options = {{"margin", 0.5}};
  Study study = make(config);
  const Trial gate = *study.ask().trial;
  const Candidate first = study.candidate(gate);
  ASSERT_TRUE(first.baseline);
  EXPECT_EQ(first.baseline->spec, gate.spec);
  const CurvePoint bad = {25, 9, 9, 1};
  EXPECT_EQ(study.why_pruned(gate, bad, 0, 100), "");  // a baseline
  study.tell(gate, FakeEvaluator::done(first));        // 3 at step 50 of 100
  const Trial other = *study.ask().trial;
  study.tell(other, FakeEvaluator::done(study.candidate(other)));
  const Trial searched = *study.ask().trial;
  EXPECT_EQ(study.candidate(searched).seed, gate.seed);
  EXPECT_EQ(study.why_pruned(searched, bad, 20, 100),
            "validation loss 9.0000 after 25 of 100 steps; allowed: 3.5000, the baseline's at a "
            "quarter and the margin");
  EXPECT_EQ(study.why_pruned(searched, {25, 3, 3.5, 1}, 20, 100), "");
  EXPECT_EQ(study.why_pruned(searched, bad, 25, 100), "");  // asked before
  EXPECT_EQ(study.why_pruned(searched, {24, 9, 9, 1}, 0, 100), "");
}

TEST_F(StudyTest, RerunsTrainTheStepsOfTheirParent) {
  Study study = make(study_config(space, 1));
  finish(study);
  study.add({study.history().find(2)->spec}, TrialRole::Rerun, 2, 1);
  const Trial rerun = *study.ask().trial;
  EXPECT_EQ(study.candidate(rerun).fixed_steps, 100);
  EXPECT_EQ(study.why_pruned(rerun, {25, 99, 99, 1}, 0, 100), "");
  EXPECT_FALSE(study.candidate(rerun).max_step_ratio);
}

// The trial is not in the memory of the process that tells how it ended.
TEST_F(StudyTest, ATrialThatWasGivenAwayEarlierIsCountedOnceWhenItIsTold) {
  const StudyConfig config = study_config(space, 1);
  const Trial trial = *serve(config).ask().trial;
  Study study = serve(config);
  study.tell(trial, FakeEvaluator::done(study.candidate(trial)));
  EXPECT_EQ(study.history().count(TrialState::Running), 0);
  EXPECT_EQ(study.history().count(TrialState::Done), 1);
}

TEST_F(StudyTest, ATrialMayHaveABudgetAndARecipeOfItsOwn) {
  const StudyConfig config = study_config(space, 1);
  Study study = make(config);
  finish(study);
  study.add({study.history().find(2)->spec}, TrialRole::Rerun, 2, 1);
  Trial rerun = *study.ask().trial;
  rerun.budget = parse_budget("7steps");
  rerun.recipe = config.recipe;
  rerun.recipe->weight_decay = 0.5;
  const Candidate candidate = study.candidate(rerun);
  EXPECT_EQ(candidate.budget, *rerun.budget);
  EXPECT_EQ(candidate.recipe.weight_decay, 0.5);
  EXPECT_EQ(candidate.fixed_steps, 0);  // its parent's steps are of another budget
}

TEST_F(StudyTest, ABudgetInSecondsIsMeasuredOnceAndItsStepsAreKept) {
  StudyConfig config = study_config(space, 2);
  config.budget = parse_budget("20s");
  {
    Study study = make(config);
    study.prepare(evaluator);
    const Trial trial = *study.ask().trial;
    EXPECT_EQ(study.candidate(trial).fixed_steps, 0);
    study.planned(trial, 1234, 0.75);
    study.planned(trial, 4321, 0.5);  // another measurement would give other numbers
  }
  Study study = make(config);
  study.prepare(evaluator);
  EXPECT_EQ(evaluator.timings, 1);
  const Candidate candidate = study.candidate(*study.ask().trial);
  EXPECT_EQ(candidate.fixed_steps, 1234);
  EXPECT_EQ(candidate.fixed_ratio, 0.75);
  EXPECT_DOUBLE_EQ(candidate.baseline->step_seconds, 0.01);
}

TEST_F(StudyTest, ABudgetInWallSecondsGoesByTheBaselinesWallTime) {
  StudyConfig config = study_config(space, 2);
  config.budget = parse_budget("20s:wall");
  Study study = make(config);
  study.prepare(evaluator);
  EXPECT_DOUBLE_EQ(study.candidate(*study.ask().trial).baseline->step_seconds, 0.03);
}

TEST_F(StudyTest, AskedTrialsOutliveTheirProcessButASearchTakesThemForLost) {
  StudyConfig config = study_config(space, 2);
  const Trial asked = *serve(config).ask().trial;
  EXPECT_EQ(serve(config).ask().trial->number, 1);
  serve(config).tell(asked, FakeEvaluator::done(serve(config).candidate(asked)));
  EXPECT_EQ(serve(config).history().find(0)->state, TrialState::Done);
  EXPECT_EQ(serve(config).history().find(1)->state, TrialState::Running);
  Study search = make(config);
  EXPECT_EQ(search.history().find(1)->state, TrialState::Waiting);
  const Trial again = *search.ask().trial;
  EXPECT_EQ(again.attempt, 2);
  Trial stale = again;
  stale.attempt = 1;
  EXPECT_EQ(error_code([&] { search.tell(stale, FakeEvaluator::done(search.candidate(again))); }),
            Exit::NotOwner);
}

}  // namespace
}  // namespace moebius
