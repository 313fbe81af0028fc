#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <csignal>
#include <fstream>
#include <mutex>

#include "search/study/worker_pool.h"
#include "search_support.h"

namespace moebius {
namespace {

using namespace testing_support;
using ::testing::HasSubstr;

class PoolTest : public ::testing::Test {
 protected:
  Study make(std::int64_t trials) { return Study(study_config(space, trials), types(), *db); }
  bool run(Study& study, int workers) {
    pool.workers = workers;
    return run_pool(study, evaluator, pool, observer);
  }

  Space space = small_space();
  std::unique_ptr<ResultsDb> db = open_db("memory:", OpenMode::Create);
  FakeEvaluator evaluator;
  PoolOptions pool;
  PoolObserver observer;
};

TEST_F(PoolTest, NeverGivesAwayMoreMemoryThanThereIs) {
  Study study = make(30);
  std::atomic<std::int64_t> used{0}, most{0};
  evaluator.max_sleep = 2000;
  evaluator.bytes = [](const Candidate& candidate) { return 300 + candidate.trial % 5 * 100; };
  evaluator.outcome = [&](const Candidate& candidate) {
    const std::int64_t mine = evaluator.bytes(candidate), now = used += mine;
    for (std::int64_t seen = most; now > seen && !most.compare_exchange_weak(seen, now);) {
    }
    std::this_thread::sleep_for(std::chrono::milliseconds(1));
    used -= mine;
    return FakeEvaluator::done(candidate);
  };
  pool.memory_limit = 1000;
  ASSERT_TRUE(run(study, 4));
  EXPECT_LE(most, 1000);
  EXPECT_GT(most, 700);  // and two at once where two fit
}

TEST_F(PoolTest, ATrialThatFitsNowhereEndsWithItsNumbers) {
  Study study = make(6);
  evaluator.bytes = [](const Candidate& candidate) {
    return candidate.trial == 4 ? 3LL << 30 : 1000;
  };
  pool.memory_limit = 1LL << 30;
  ASSERT_TRUE(run(study, 2));
  const Trial large = *study.history().find(4);
  EXPECT_EQ(large.state, TrialState::OutOfMemory);
  EXPECT_EQ(large.outcome->message, "needs 3 GiB; limit 1 GiB");
  EXPECT_EQ(large.outcome->measurement.peak_bytes, 3LL << 30);
  EXPECT_EQ(study.history().count(TrialRole::Search), 6);
}

TEST_F(PoolTest, RefusedMemoryAndBadInputEndTheTrialAlone) {
  Study study = make(5);
  evaluator.outcome = [](const Candidate& candidate) -> Outcome {
    if (candidate.trial == 2) throw std::bad_alloc();
    if (candidate.trial == 4) throw Error(Exit::BadInput, "train.py: no such file");
    return FakeEvaluator::done(candidate);
  };
  ASSERT_TRUE(run(study, 3));
  const History history = study.history();
  EXPECT_EQ(history.find(2)->state, TrialState::OutOfMemory);
  EXPECT_EQ(history.find(4)->state, TrialState::Failed);
  EXPECT_EQ(history.find(4)->outcome->message, "train.py: no such file");
  EXPECT_EQ(history.find(5)->state, TrialState::Done);
}

// A bug of a kernel must not become a verdict on the block that met it.
TEST_F(PoolTest, ABugEndsTheSearchAndReleasesItsTrial) {
  const std::vector<std::function<void()>> bugs = {
      [] { MOEBIUS_CHECK(false, "[matmul] x has 3 rows, y 4"); },
      [] { throw std::runtime_error("[matmul] x has 3 rows, y 4"); }};
  for (const auto& bug : bugs) {
    db = open_db("memory:", OpenMode::Create);
    {
      Study study = make(8);
      evaluator.outcome = [&](const Candidate& candidate) -> Outcome {
        if (candidate.trial == 4) bug();
        return FakeEvaluator::done(candidate);
      };
      std::string line;
      EXPECT_EQ(error_code([&] { run(study, 2); }, &line), Exit::Bug);
      EXPECT_THAT(line, HasSubstr("trial 4: [matmul] x has 3 rows, y 4"));
      EXPECT_EQ(study.history().find(4)->state, TrialState::Waiting);
    }
    evaluator.outcome = FakeEvaluator::done;
    Study study = make(8);
    EXPECT_TRUE(run(study, 2));
    EXPECT_EQ(study.history().find(4)->state, TrialState::Done);
    EXPECT_EQ(study.history().find(4)->attempt, 1);
  }
}

TEST_F(PoolTest, TroubleWithTheStoreEndsThePoolAndLeavesTheRestResumable) {
  {
    Study study = make(20);
    evaluator.outcome = [](const Candidate& candidate) -> Outcome {
      if (candidate.trial == 7) throw Error(Exit::Storage, "t7: cannot be written");
      return FakeEvaluator::done(candidate);
    };
    std::string line;
    EXPECT_EQ(error_code([&] { run(study, 3); }, &line), Exit::Storage);
    EXPECT_EQ(
        line,
        "t7: cannot be written; mend that (free space on a full disk) and run the same command "
        "again");
    EXPECT_FALSE(study.complete());
  }
  evaluator.outcome = FakeEvaluator::done;
  Study study = make(20);
  EXPECT_TRUE(run(study, 3));
}

TEST_F(PoolTest, TheGateBaselineMustFinish) {
  Study study = make(20);
  evaluator.outcome = [](const Candidate& candidate) -> Outcome {
    if (candidate.trial == 0) throw Error(Exit::BadInput, "no cuda");
    return FakeEvaluator::done(candidate);
  };
  std::string line;
  EXPECT_EQ(error_code([&] { run(study, 2); }, &line), Exit::NoUsableTrial);
  EXPECT_THAT(line, HasSubstr("dense-nano is failed: no cuda"));
}

// The evaluator says the ratio before the steps; both are there for the next attempt.
TEST_F(PoolTest, AMeasuredStepRatioOutlivesItsAttempt) {
  StudyConfig config = study_config(space, 1);
  config.budget = parse_budget("20s");
  struct Timed : FakeEvaluator {
    Outcome evaluate(const Candidate& candidate, const Prepared&, Observer& observer) override {
      const bool again = candidate.fixed_steps > 0;
      StepPlan plan{.steps = again ? candidate.fixed_steps : 40 + candidate.trial};
      if (!again && candidate.trial == 1) plan.step_ratio = 1.25;
      observer.planned(plan);
      if (!again) throw Error(Exit::Storage, "the machine went away");
      Outcome ended = done(candidate);
      ended.measurement.step_ratio = candidate.fixed_ratio;
      ended.measurement.steps = candidate.fixed_steps;
      return ended;
    }
  } timed;
  for (int crash = 0; crash < 3; ++crash) {
    Study study(config, types(), *db);
    EXPECT_EQ(error_code([&] { run_pool(study, timed, pool, observer); }), Exit::Storage);
  }
  Study study(config, types(), *db);
  EXPECT_TRUE(run_pool(study, timed, pool, observer));
  const History history = study.history();
  EXPECT_EQ(history.find(1)->outcome->measurement.step_ratio, 1.25);
  EXPECT_EQ(history.find(1)->outcome->measurement.steps, 41);
  EXPECT_TRUE(std::isnan(history.find(0)->outcome->measurement.step_ratio));
}

TEST_F(PoolTest, OutcomesAreShownOnlyWhenTheyAreStored) {
  struct Watcher : PoolObserver {
    explicit Watcher(ResultsDb& results) : db(results) {}
    void started(int worker, const Trial&, std::int64_t steps) override {
      EXPECT_LT(worker, 3);
      EXPECT_EQ(steps, 100);
      ++starts;
    }
    void ended(int, const Trial& trial, const Outcome& outcome) override {
      const History history = db.history(1);
      EXPECT_EQ(history.find(trial.number)->loss(), outcome.measurement.loss);
      ++ends;
    }
    ResultsDb& db;
    std::atomic<int> starts{0}, ends{0};
  };
  Study study = make(10);
  Watcher watcher(*db);
  pool.workers = 3;
  EXPECT_TRUE(run_pool(study, evaluator, pool, watcher));
  EXPECT_EQ(watcher.starts, 12);
  EXPECT_EQ(watcher.ends, 12);
}

TEST_F(PoolTest, WeightsOfTheBestStayAndCheckpointsOfEndedTrialsGo) {
  const Folder folder;
  struct Writer : FakeEvaluator {
    Outcome evaluate(const Candidate& candidate, const Prepared&, Observer& observer) override {
      std::ofstream(candidate.checkpoint) << "half-way";
      Outcome ended = done(candidate);
      if (candidate.trial == 5) ended.ending = Ending::Diverged;
      if (observer.wants_weights(ended.measurement.loss)) {
        std::ofstream(candidate.keep_weights) << "weights";
        ++written;
      }
      return ended;
    }
    std::atomic<int> written{0};
  } writer;
  Study study = make(20);
  StudyRow row = study.row();
  WeightKeeper keeper(*db, row, StudyFiles(folder.file("r.db"), row, {}));
  pool.keeper = &keeper;
  pool.workers = 2;
  EXPECT_TRUE(run_pool(study, writer, pool, observer));
  EXPECT_EQ(db->artifacts(row.id).size(), 5U);
  EXPECT_LT(writer.written, 20);  // not of a trial that would not be kept
  std::size_t files = 0;
  for (const auto& entry : std::filesystem::directory_iterator(keeper.files().folder())) {
    EXPECT_EQ(entry.path().extension(), ".safetensors");
    ++files;
  }
  EXPECT_EQ(files, 5U);
}

// A pool that gets SIGINT when the 5th trial has ended.
void stopped_search(const std::string& path) {
  struct Interrupter : PoolObserver {
    void ended(int, const Trial&, const Outcome&) override {
      if (++ends == 5) raise(SIGINT);
    }
    std::atomic<int> ends{0};
  };
  const Space space = small_space();
  const auto db = open_db(path, OpenMode::Create);
  Study study(study_config(space, 30), types(), *db);
  struct Stoppable : FakeEvaluator {
    Outcome evaluate(const Candidate& candidate, const Prepared&, Observer& observer) override {
      for (int step = 0; step < 5; ++step) {
        std::this_thread::sleep_for(std::chrono::milliseconds(1));
        if (!observer.stop()) continue;
        Outcome stopped;
        stopped.ending = Ending::Stopped;
        return stopped;
      }
      return done(candidate);
    }
  } evaluator;
  Interrupter interrupter;
  PoolOptions pool;
  pool.workers = 3;
  install_stop_signals();
  if (run_pool(study, evaluator, pool, interrupter)) _exit(1);
  for (const Trial& trial : study.history().trials())
    if (trial.state == TrialState::Running) _exit(2);
  if (study.history().count(TrialRole::Search) == 30) _exit(3);
  _exit(128 + stop_signal());
}

TEST(StopSignal, TheFirstStopsEveryTrialAndTakesNoAttempt) {
  ::testing::FLAGS_gtest_death_test_style = "threadsafe";
  // The death test runs this test again in a process of its own, which inherits the path.
  constexpr const char* kVariable = "MOEBIUS_STOP_SIGNAL_TEST";
  std::optional<Folder> folder;
  if (getenv(kVariable) == nullptr)
    setenv(kVariable, folder.emplace().file("stopped.db").c_str(), 1);
  const std::string path = getenv(kVariable);
  EXPECT_EXIT(stopped_search(path), ::testing::ExitedWithCode(130), "");
  const Space space = small_space();
  {
    const auto db = open_db(path, OpenMode::Create);
    Study study(study_config(space, 30), types(), *db);
    FakeEvaluator evaluator;
    PoolObserver silent;
    EXPECT_TRUE(run_pool(study, evaluator, {.workers = 2}, silent));
    for (const Trial& trial : study.history().trials()) EXPECT_EQ(trial.attempt, 1);
  }
  unsetenv(kVariable);
}

TEST(StopSignal, TheSecondEndsTheProcessAtOnce) {
  ::testing::FLAGS_gtest_death_test_style = "threadsafe";
  const auto twice = [](int signal) {
    install_stop_signals();
    raise(signal);
    if (!stop_requested() || stop_signal() != signal) _exit(1);
    raise(signal);
    _exit(2);
  };
  EXPECT_EXIT(twice(SIGINT), ::testing::ExitedWithCode(130), "");
  EXPECT_EXIT(twice(SIGTERM), ::testing::ExitedWithCode(143), "");
}

}  // namespace
}  // namespace moebius
