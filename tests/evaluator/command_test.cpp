#include <cmath>
#include <set>
#include <thread>

#include "evaluator/evaluators/report.h"
#include "evaluator_support.h"
#include "space/cost.h"

namespace moebius {
namespace {

using namespace testing_support;

class CommandEvaluator : public ::testing::Test {
 protected:
  std::unique_ptr<Evaluator> make(const std::string& command, double timeout = 60) const {
    EvaluatorOptions options = options_for("corpus-name");
    options.command = command;
    options.timeout_seconds = timeout;
    return evaluators().get("command").make(options);
  }
  Outcome run(const std::string& command, double timeout = 60) const {
    Observer observer;
    return make(command, timeout)->evaluate(candidate(), observer);
  }
  Candidate candidate() const {
    Candidate result = tiny_candidate(8);
    result.trial = 7;
    result.attempt = 2;
    result.seed = 11;
    result.directory = directory_.file("trials");
    return result;
  }

  Folder directory_;
};

constexpr const char* kGood =
    "for i in 1 2 3 4; do echo \"{\\\"step\\\":$i,\\\"loss\\\":$((6-i))}\"; done; "
    "echo '{\"final\":true,\"loss\":1.5,\"step_seconds\":0.25,\"tokens\":512,\"steps\":8}'";

TEST_F(CommandEvaluator, ReadsTheCurveAndTheResult) {
  const Outcome outcome = run(kGood);
  ASSERT_EQ(outcome.ending, Ending::Done) << outcome.message;
  ASSERT_EQ(outcome.curve.size(), 4u);
  EXPECT_EQ(outcome.curve[2].step, 3);
  EXPECT_EQ(outcome.curve[2].valid_loss, 3);
  EXPECT_EQ(outcome.measurement.loss, 1.5);
  EXPECT_EQ(outcome.measurement.step_seconds, 0.25);
  EXPECT_EQ(outcome.measurement.tokens, 512);
  EXPECT_EQ(outcome.measurement.steps, 8);
  EXPECT_EQ(outcome.measurement.causal, "yes");
  EXPECT_GT(outcome.measurement.parameters, 0);
}

TEST_F(CommandEvaluator, WhatItTrainedOnFollowsFromTheTokensItReports) {
  const Candidate task = candidate();
  const Cost each = cost(task.spec, builtin_catalog().types, task.recipe, 256);
  for (const char* report : {"\"loss\":1.5", "\"ending\":\"diverged\""}) {
    const Measurement m =
        run(std::string("echo '{\"final\":true,\"tokens\":1000,") + report + "}'").measurement;
    EXPECT_EQ(m.tokens, 1000);
    EXPECT_EQ(m.steps, 8);
    EXPECT_DOUBLE_EQ(m.flops, each.step_flops * 1000 / 64);  // 4 sequences of 16
    EXPECT_DOUBLE_EQ(m.tokens_per_active_parameter,
                     1000 / static_cast<double>(each.active_parameters));
  }
}

TEST_F(CommandEvaluator, HandsTheTaskOverInFilesAndEnvironment) {
  run("cp -r $MOEBIUS_TRIAL_DIR " + directory_.file("seen") +
      "; echo $MOEBIUS_TRIAL $MOEBIUS_ATTEMPT $MOEBIUS_SEED $MOEBIUS_STEPS $MOEBIUS_DATA > " +
      directory_.file("env") + "; echo '{\"final\":true,\"loss\":1}'");
  EXPECT_EQ(read_text(directory_.file("env")), "7 2 11 8 corpus-name\n");
  EXPECT_EQ(
      read_spec(load_json(directory_.file("seen/spec.json")), "spec.json", builtin_catalog().types),
      candidate().spec);
  EXPECT_EQ(load_json(directory_.file("seen/recipe.json")), to_json(candidate().recipe));
  EXPECT_EQ(load_json(directory_.file("seen/budget.json"))["text"], "8steps");
  EXPECT_EQ(load_json(directory_.file("seen/task.json"))["lr"], 1e-2);
  EXPECT_TRUE(std::filesystem::exists(directory_.file("trials/trial-7-a2/spec.json")));
}

TEST_F(CommandEvaluator, FaultsOfTheProgramAreOutcomesWithAReason) {
  struct Case {
    const char* command;
    Ending ending;
    const char* message;
  };
  for (const Case& each : std::initializer_list<Case>{
           {"echo oh no >&2; exit 3", Ending::Failed, "exit status 3; it said: oh no"},
           {"kill -9 $$", Ending::Failed, "killed by SIGKILL"},
           {"kill -SEGV $$", Ending::Failed, "killed by SIGSEGV"},
           {"true", Ending::Failed, "ended without a final result"},
           {"/nowhere/program", Ending::Failed, "exit status 127"},
           {"echo 'Epoch 1 ...'", Ending::Failed,
            "line 1 of its output: not JSON; got: 'Epoch 1 ...'"},
           {"echo '[1]'", Ending::Failed, "not an object"},
           {"echo '{\"epoch\":1}'", Ending::Failed, "neither"},
           {"echo '{\"final\":true,\"loss\":\"low\"}'", Ending::Failed, "a loss that is no number"},
           {"echo '{\"final\":true}'", Ending::Failed, "a final result without a loss"},
           {"echo '{\"step\":2,\"loss\":1}'; echo '{\"step\":2,\"loss\":1}'", Ending::Failed,
            "step 2 after step 2"},
           {"head -c 2000000 /dev/zero | tr '\\0' x", Ending::Failed, "more than 1 MiB"},
           {"echo '{\"step\":1,\"loss\":NaN}'", Ending::Diverged, "not finite in line 1"},
           {"echo '{\"final\":true,\"loss\":-Infinity}'", Ending::Diverged, "not finite"},
           {"echo '{\"final\":true,\"loss\":null}'", Ending::Diverged, "not finite"},
           {"echo '{\"final\":true,\"ending\":\"out_of_memory\",\"message\":\"80 GB\"}'",
            Ending::OutOfMemory, "80 GB"},
           {"echo '{\"final\":true,\"ending\":\"bored\"}'", Ending::Failed, "unknown ending"}}) {
    const Outcome outcome = run(each.command);
    EXPECT_EQ(outcome.ending, each.ending) << each.command << ": " << outcome.message;
    EXPECT_NE(outcome.message.find(each.message), std::string::npos)
        << each.command << ": " << outcome.message;
    EXPECT_TRUE(std::isnan(outcome.measurement.loss)) << each.command;
  }
}

TEST_F(CommandEvaluator, TimeoutKillsTheWholeGroup) {
  const std::string alive = directory_.file("alive");
  const Outcome outcome = run("(sleep 1; touch " + alive + ") & sleep 60", 0.2);
  EXPECT_EQ(outcome.ending, Ending::Failed);
  EXPECT_EQ(outcome.message, "timed out after 0.2 s");
  usleep(1'200'000);
  EXPECT_FALSE(std::filesystem::exists(alive));
}

TEST_F(CommandEvaluator, AProgramThatLeavesChildrenBehindHasEnded) {
  EXPECT_EQ(run(std::string("sleep 60 & ") + kGood).ending, Ending::Done);
}

TEST_F(CommandEvaluator, StopRequestLetsTheProgramSaveItself) {
  StopAfter observer(5);
  const std::string saved = directory_.file("saved");
  const Outcome outcome =
      make("trap 'touch " + saved + "; exit 0' TERM; while true; do sleep 0.05; done")
          ->evaluate(candidate(), observer);
  EXPECT_EQ(outcome.ending, Ending::Stopped);
  EXPECT_TRUE(std::filesystem::exists(saved));
}

TEST_F(CommandEvaluator, ATrialIsPrunedBySignal) {
  struct Stopper : Observer {
    std::string point(const CurvePoint& point, std::int64_t) override {
      return point.step >= 2 ? "bad enough" : "";
    }
  } stopper;
  const auto evaluator =
      make("echo '{\"step\":1,\"loss\":3}'; echo '{\"step\":2,\"loss\":2.5}'; sleep 60");
  const Outcome outcome = evaluator->evaluate(candidate(), stopper);
  EXPECT_EQ(outcome.ending, Ending::Pruned);
  EXPECT_EQ(outcome.message, "bad enough");
  EXPECT_EQ(outcome.measurement.stopped_loss, 2.5);
  EXPECT_EQ(outcome.measurement.stopped_step, 2);
}

TEST_F(CommandEvaluator, ProgramsMayPlanTimedBudgetsThemselves) {
  struct Watcher : Observer {
    void planned(const StepPlan& plan) override { steps = plan.steps; }
    std::int64_t steps = 0;
  } watcher;
  Candidate timed = candidate();
  timed.budget = {Budget::Unit::Cpu, 5, ""};
  const auto evaluator = make(
      "echo '{\"steps\":123}'; echo '{\"step\":123,\"loss\":1}'; "
      "echo '{\"final\":true,\"loss\":1}'");
  const Outcome outcome = evaluator->evaluate(timed, watcher);
  EXPECT_EQ(outcome.ending, Ending::Done) << outcome.message;
  EXPECT_EQ(watcher.steps, 123);
  EXPECT_EQ(outcome.measurement.steps, 123);
}

TEST_F(CommandEvaluator, NeedsACommand) {
  EXPECT_EQ(bad_input_of([&] { make(""); }).rfind("--command: is required", 0), 0u);
}

TEST_F(CommandEvaluator, DrivesAPyTorchTrainer) {
  if (std::system("/usr/bin/python3 -c 'import torch' 2>/dev/null") != 0)
    GTEST_SKIP() << "no PyTorch for /usr/bin/python3";
  const auto script = source_file("tests/evaluator/torch_trainer.py");
  const auto evaluator = make("/usr/bin/python3 " + script.string());
  std::vector<Outcome> outcomes(10);
  const auto lane = [&](std::size_t first) {
    Observer observer;
    for (std::size_t i = first; i < outcomes.size(); i += 2) {
      Candidate task = candidate();
      task.trial = static_cast<std::int64_t>(i);
      task.spec = i % 3 == 0 ? tiny_spec(kTop2) : tiny_spec();
      task.spec.d_model = 16 * static_cast<std::int64_t>(1 + i / 3);
      outcomes[i] = evaluator->evaluate(task, observer);
    }
  };
  std::thread other(lane, 1);
  lane(0);
  other.join();
  std::set<double> losses;
  for (const Outcome& outcome : outcomes) {
    ASSERT_EQ(outcome.ending, Ending::Done) << outcome.message;
    EXPECT_EQ(outcome.curve.size(), 8u);
    EXPECT_LT(outcome.measurement.loss, outcome.curve.front().valid_loss);
    losses.insert(outcome.measurement.loss);
  }
  EXPECT_GT(losses.size(), 5u);  // the block reaches the program
}

TEST(Report, KindsAreTold) {
  using Kind = Report::Kind;
  EXPECT_EQ(read_report("{\"steps\": 5}").kind, Kind::Steps);
  EXPECT_EQ(read_report("{\"step\":1,\"loss\":2,\"extra\":[]}").kind, Kind::Point);
  EXPECT_EQ(read_report("{\"final\":true,\"loss\":2}").kind, Kind::Final);
  EXPECT_EQ(read_report("{\"final\":false,\"loss\":2}").kind, Kind::Bad);
  EXPECT_EQ(read_report("").kind, Kind::Bad);
}

}  // namespace
}  // namespace moebius
