#include <cmath>

#include "evaluator/corpus/corpus.h"
#include "evaluator/corpus/splits.h"
#include "evaluator/training/trainer.h"
#include "evaluator_support.h"
#include "model/checkpoint.h"
#include "space/base/log.h"
#include "space/cost.h"

namespace moebius {
namespace {

using namespace testing_support;

// Text that a tiny model learns: "abcabc.." in documents.
std::string simple_text() {
  std::string text;
  for (int i = 0; i < 800; ++i) text += "abcdefgh abcdefgh " + std::to_string(i % 10) + "\n\n";
  return text;
}

// The step that a checkpoint was saved after; -1 when there is none.
int checkpoint_step(const std::string& path) {
  if (!std::filesystem::exists(path)) return -1;
  return std::stoi(SafetensorsFile(path).metadata().at("step"));
}

class Proxy : public ::testing::Test {
 protected:
  Proxy() : data_(directory_.write("text.txt", simple_text())) {}

  std::unique_ptr<Evaluator> make() const {
    return evaluators().get("proxy").make(options_for(data_));
  }
  Outcome evaluate(const Candidate& candidate) const {
    Observer observer;
    return make()->evaluate(candidate, observer);
  }

  Folder directory_;
  std::string data_;
};

TEST_F(Proxy, LearnsAndMeasuresEverything) {
  const Outcome outcome = evaluate(tiny_candidate(150));
  ASSERT_EQ(outcome.ending, Ending::Done) << outcome.message;
  const Measurement& m = outcome.measurement;
  EXPECT_LT(m.loss, 1.0);  // ln 256 = 5.5 at the start
  EXPECT_EQ(m.native_loss, m.loss);
  EXPECT_NEAR(m.bits_per_byte, m.loss / std::log(2.0), 1e-12);
  EXPECT_EQ(m.causal, "yes");
  EXPECT_EQ(m.steps, 150);
  EXPECT_EQ(m.tokens, 150 * 64);
  EXPECT_GT(m.flops, 0);
  EXPECT_GT(m.epochs, 0.5);
  EXPECT_GT(m.cpu_seconds, 0);
  EXPECT_GT(m.step_seconds, 0);
  EXPECT_TRUE(std::isnan(m.step_ratio));
  EXPECT_GT(m.parameters, m.active_parameters);
  EXPECT_GT(m.peak_bytes, m.parameters * 16);
  EXPECT_EQ(m.result_hash.size(), 32u);
}

TEST_F(Proxy, CurveHasSixteenPointsAtFixedStepsAndTheQuarterAmongThem) {
  const Outcome outcome = evaluate(tiny_candidate(150));
  ASSERT_EQ(outcome.curve.size(), 16u);
  int validated = 0;
  for (std::size_t k = 1; k <= 16; ++k) {
    const CurvePoint& point = outcome.curve[k - 1];
    EXPECT_EQ(point.step, static_cast<std::int64_t>((k * 150 + 15) / 16));
    EXPECT_TRUE(std::isfinite(point.train_loss));
    EXPECT_EQ(std::isfinite(point.valid_loss), k % 2 == 0) << point.step;
    validated += std::isfinite(point.valid_loss);
  }
  EXPECT_EQ(validated, 8);
  EXPECT_EQ(outcome.curve[3].step, 38);  // a quarter, rounded up
}

TEST_F(Proxy, SameCandidateGivesTheSameBits) {
  const Outcome first = evaluate(tiny_candidate(40)), second = evaluate(tiny_candidate(40));
  EXPECT_EQ(first.measurement.result_hash, second.measurement.result_hash);
  EXPECT_EQ(first.measurement.loss, second.measurement.loss);
  Candidate other = tiny_candidate(40);
  other.seed = 2;
  EXPECT_NE(evaluate(other).measurement.result_hash, first.measurement.result_hash);
}

TEST_F(Proxy, InterruptedAndResumedEqualsUninterrupted) {
  for (const std::string& last : {std::string(kTop2), std::string(kExpertChoice)}) {
    Candidate candidate = tiny_candidate(40);
    candidate.spec = tiny_spec(last);
    const Outcome whole = evaluate(candidate);
    ASSERT_EQ(whole.ending, Ending::Done) << whole.message;
    candidate.checkpoint = directory_.file("t00001.resume");
    const auto evaluator = make();
    int stops = 0;
    Outcome outcome;
    do {
      StopAfter observer(13);  // not at a point of the curve
      outcome = evaluator->evaluate(candidate, observer);
      stops += outcome.ending == Ending::Stopped;
      ASSERT_EQ(std::filesystem::exists(candidate.checkpoint), outcome.ending == Ending::Stopped);
    } while (outcome.ending == Ending::Stopped && stops < 10);
    EXPECT_EQ(stops, 3);  // after 13, 26 and 39 steps
    EXPECT_EQ(outcome.measurement.result_hash, whole.measurement.result_hash);
    EXPECT_EQ(outcome.measurement.kept_pairs, whole.measurement.kept_pairs);
    EXPECT_EQ(outcome.measurement.steps, 40);
  }
}

// What a killed process leaves behind is what is on the disk when evaluate() is left by force.
TEST_F(Proxy, KilledAndResumedEqualsUninterrupted) {
  struct Killed {};
  struct KillAfter : Observer {
    explicit KillAfter(int steps) : left(steps) {}
    bool stop() override { return left-- > 0 ? false : throw Killed(); }
    int left;
  };
  Candidate candidate = tiny_candidate(40);
  candidate.spec = tiny_spec(kTop2);
  const Outcome whole = evaluate(candidate);
  candidate.checkpoint = directory_.file("t00001.resume");
  const auto killed_after = [&](int steps) {
    KillAfter killer(steps);
    EXPECT_THROW(make()->evaluate(candidate, killer), Killed);
    return checkpoint_step(candidate.checkpoint);
  };
  EXPECT_EQ(killed_after(13), -1);  // the first five minutes are not over
  candidate.checkpoint_seconds = 0;
  EXPECT_EQ(killed_after(13), 12);  // the thirteenth step was not saved
  EXPECT_EQ(killed_after(13), 24);
  const Outcome outcome = evaluate(candidate);
  ASSERT_EQ(outcome.ending, Ending::Done) << outcome.message;
  EXPECT_EQ(outcome.measurement.result_hash, whole.measurement.result_hash);
  EXPECT_EQ(outcome.measurement.kept_pairs, whole.measurement.kept_pairs);
  EXPECT_FALSE(std::filesystem::exists(candidate.checkpoint));
}

TEST_F(Proxy, ACheckpointThatDoesNotFitMeansANewStart) {
  const Outcome whole = evaluate(tiny_candidate(20));
  Candidate candidate = tiny_candidate(20);
  candidate.checkpoint = directory_.file("t00001.resume");
  const auto evaluator = make();
  const auto stopped_file = [&](Candidate stopped) {
    StopAfter observer(7);
    evaluator->evaluate(stopped, observer);
    return read_text(candidate.checkpoint);
  };
  std::string damaged = stopped_file(candidate);
  damaged[damaged.size() - 100] ^= 1;
  Candidate stranger = candidate;
  stranger.seed = 99;
  const std::string foreign = stopped_file(stranger);
  set_log_level(LogLevel::Quiet);
  for (const std::string& bytes : {damaged, damaged.substr(0, 500), foreign, std::string("x")}) {
    directory_.write("t00001.resume", bytes);
    Observer observer;
    EXPECT_EQ(evaluator->evaluate(candidate, observer).measurement.result_hash,
              whole.measurement.result_hash);
  }
  set_log_level(LogLevel::Info);
}

TEST_F(Proxy, ATrialEndsWhereItsObserverSaysSo) {
  struct Stopper : Observer {
    std::string point(const CurvePoint& point, std::int64_t of_steps) override {
      EXPECT_EQ(of_steps, 40);
      return point.step >= 10 ? "bad enough" : "";
    }
  } stopper;
  const Outcome whole = evaluate(tiny_candidate(40));
  const Outcome pruned = make()->evaluate(tiny_candidate(40), stopper);
  EXPECT_EQ(pruned.ending, Ending::Pruned);
  EXPECT_EQ(pruned.message, "bad enough");
  EXPECT_EQ(pruned.measurement.stopped_step, 10);
  EXPECT_EQ(pruned.measurement.steps, 10);
  EXPECT_EQ(pruned.measurement.stopped_loss, whole.curve[3].valid_loss);
  EXPECT_TRUE(std::isnan(pruned.measurement.loss));
  EXPECT_EQ(pruned.curve.size(), 4u);
}

TEST_F(Proxy, DivergenceIsAnOutcome) {
  Candidate candidate = tiny_candidate(60);
  // The first update makes the products of the second step overflow.
  candidate.recipe.lr["dense"] = 1e30;
  candidate.recipe.clip = 0;
  const Outcome outcome = evaluate(candidate);
  EXPECT_EQ(outcome.ending, Ending::Diverged);
  EXPECT_LT(outcome.measurement.stopped_step, 60);
  EXPECT_TRUE(std::isnan(outcome.measurement.loss));
  EXPECT_NE(outcome.message.find("step"), std::string::npos) << outcome.message;
}

TEST_F(Proxy, TooLargeIsAnOutcomeWithTheNumbersAndNothingIsTrained) {
  EvaluatorOptions options = options_for(data_);
  options.memory_limit = 100'000;
  Observer observer;
  const auto evaluator = evaluators().get("proxy").make(options);
  const Outcome outcome = evaluator->evaluate(tiny_candidate(10), observer);
  EXPECT_EQ(outcome.ending, Ending::OutOfMemory);
  EXPECT_EQ(outcome.message.rfind("needs ", 0), 0u) << outcome.message;
  EXPECT_NE(outcome.message.find("limit 97.7 KiB"), std::string::npos) << outcome.message;
  EXPECT_EQ(outcome.measurement.steps, 0);
  EXPECT_GT(outcome.measurement.peak_bytes, 100'000);
}

TEST_F(Proxy, IllegalBlockIsInfeasible) {
  Candidate candidate = tiny_candidate(10);
  candidate.spec = tiny_spec(
      R"({"type":"moe","d_moe":16,"experts":7,"gating":"top2","capacity":1,"activation":"relu"})");
  const Outcome outcome = evaluate(candidate);
  EXPECT_EQ(outcome.ending, Ending::Infeasible);
  EXPECT_NE(outcome.message, "");
}

TEST_F(Proxy, CausalityIsMeasured) {
  const std::string dropless =
      R"({"type":"moe","d_moe":16,"experts":4,"gating":"top2","capacity":"none","activation":"relu"})";
  const auto causal = [&](const std::string& last) {
    Candidate candidate = tiny_candidate(20);
    candidate.spec = tiny_spec(last);
    const Outcome outcome = evaluate(candidate);
    EXPECT_EQ(outcome.ending, Ending::Done) << outcome.message;
    EXPECT_EQ(outcome.measurement.ranked_causal, "yes");
    // Where the routings differ, so do the losses.
    const bool limited = last != dropless;
    EXPECT_EQ(outcome.measurement.native_loss != outcome.measurement.loss, limited);
    return outcome.measurement.causal;
  };
  EXPECT_EQ(causal(kTop2), "drops");
  EXPECT_EQ(causal(kExpertChoice), "selection");
  EXPECT_EQ(causal(dropless), "yes");
}

TEST_F(Proxy, TimedBudgetsBecomeStepsThroughTheBaseline) {
  Candidate candidate = tiny_candidate(0);
  candidate.budget = {Budget::Unit::Cpu, 0.2, ""};
  candidate.baseline = TimedBaseline{candidate.spec, 0.004};
  const Outcome itself = evaluate(candidate);  // nothing to measure: 0.2 / 0.004
  EXPECT_EQ(itself.measurement.steps, 50);
  EXPECT_EQ(itself.measurement.step_ratio, 1);

  candidate.spec = tiny_spec(kTop2);
  const Outcome other = evaluate(candidate);
  const double ratio = other.measurement.step_ratio;
  EXPECT_GT(ratio, 0);
  EXPECT_EQ(other.measurement.steps,
            std::max<std::int64_t>(20, static_cast<std::int64_t>(0.2 / (0.004 * ratio))));
  candidate.fixed_steps = 23;
  const Outcome fixed = evaluate(candidate);
  EXPECT_EQ(fixed.measurement.steps, 23);
  EXPECT_TRUE(std::isnan(fixed.measurement.step_ratio));
  candidate.fixed_ratio = 1.5;  // as measured before an earlier attempt
  EXPECT_EQ(evaluate(candidate).measurement.step_ratio, 1.5);
}

// The machine may be busy when a candidate is timed: only its ratio to the baseline counts.
TEST_F(Proxy, WallBudgetsGoByTheBaselinesStoredTimeToo) {
  Candidate candidate = tiny_candidate(0);
  candidate.budget = {Budget::Unit::Wall, 0.2, ""};
  candidate.baseline = TimedBaseline{candidate.spec, 0.004};
  EXPECT_EQ(evaluate(candidate).measurement.steps, 50);
  candidate.spec = tiny_spec(kTop2);
  const Measurement other = evaluate(candidate).measurement;
  EXPECT_EQ(other.steps, std::max<std::int64_t>(
                             20, static_cast<std::int64_t>(0.2 / (0.004 * other.step_ratio))));
}

TEST_F(Proxy, FlopBudgetsGoByStaticCost) {
  Candidate candidate = tiny_candidate(0);
  const auto flops =
      cost(candidate.spec, builtin_catalog().types, candidate.recipe, 256).step_flops;
  candidate.budget = {Budget::Unit::Flops, 25.5 * flops, ""};
  const Outcome outcome = evaluate(candidate);
  EXPECT_EQ(outcome.measurement.steps, 25);
  EXPECT_EQ(outcome.measurement.flops, 25 * flops);
}

TEST_F(Proxy, KeptWeightsAreTheJudgedModel) {
  Candidate candidate = tiny_candidate(20);
  candidate.keep_weights = directory_.file("t00001.safetensors");
  const Outcome outcome = evaluate(candidate);
  const SafetensorsFile file(candidate.keep_weights);
  file.verify();
  for (const char* key : {"block", "recipe", "vocab", "tokenizer"})
    EXPECT_TRUE(file.metadata().contains(key)) << key;
  EXPECT_EQ(file.metadata().at("result_hash"), outcome.measurement.result_hash);
  EXPECT_EQ(file.metadata().at("tokenizer"), "bytes");

  const auto corpus = Corpus::open(data_, "");
  LearnerOptions options;
  options.backend = options_for(data_).backend;
  Learner learner(candidate.spec, candidate.recipe, 256, options, builtin_catalog());
  learner.restore(candidate.keep_weights, false);
  const auto batches = evaluation_batches(*corpus, Split::Validation, candidate.recipe);
  EXPECT_EQ(mean_loss(learner, *corpus, Split::Validation, candidate.recipe, batches, Mode::Causal),
            outcome.measurement.loss);

  // The subset in the words of docs/conventions.md, from the text of the split.
  std::string text;
  SplitText(data_).for_each([&](Split split, const Piece& piece) {
    if (split == Split::Validation) text += piece.text;
  });
  const auto batch = static_cast<std::size_t>(candidate.recipe.batch),
             seq = static_cast<std::size_t>(candidate.recipe.seq);
  const std::size_t n = (text.size() - 1) / seq / batch,
                    used = std::min(n, (1024 + batch * seq - 1) / (batch * seq));
  double sum = 0;
  for (std::size_t i = 0; i < used; ++i) {
    std::vector<std::int32_t> tokens, targets;
    for (std::size_t r = 0; r < batch; ++r)
      for (std::size_t s = 0; s < seq; ++s) {
        const std::size_t position = (i + r * n) * seq + s;
        tokens.push_back(static_cast<unsigned char>(text[position]));
        targets.push_back(static_cast<unsigned char>(text[position + 1]));
      }
    for (const double loss : learner.evaluate(tokens, targets, Mode::Causal)) sum += loss;
  }
  EXPECT_EQ(sum / static_cast<double>(used * batch * seq), outcome.measurement.loss);
}

TEST_F(Proxy, ObserverSeesThePlanAndAboutFiftyPoints) {
  struct Watcher : Observer {
    void planned(const StepPlan& plan) override { planned_steps = plan.steps; }
    std::string point(const CurvePoint&, std::int64_t of_steps) override {
      ++points;
      EXPECT_EQ(of_steps, 100);
      return "";
    }
    std::int64_t planned_steps = 0;
    int points = 0;
  } watcher;
  make()->evaluate(tiny_candidate(100), watcher);
  EXPECT_EQ(watcher.planned_steps, 100);
  EXPECT_EQ(watcher.points, 48);
}

// One plan of the memory serves the pool, the limit and the row.
TEST_F(Proxy, IsPreparedOnceAndHandedOn) {
  const auto evaluator = make();
  const Candidate candidate = tiny_candidate(10);
  Prepared prepared = evaluator->prepare(candidate);
  EXPECT_FALSE(prepared.ending);
  EXPECT_GT(prepared.cost.parameters, 0);
  EXPECT_NE(prepared.parts.find("parameters "), std::string::npos) << prepared.parts;
  Observer observer;
  prepared.peak_bytes += 12345;  // what was handed on is what counts
  EXPECT_EQ(evaluator->evaluate(candidate, prepared, observer).measurement.peak_bytes,
            prepared.peak_bytes);
  prepared.peak_bytes = std::int64_t{1} << 60;
  const Outcome outcome = evaluator->evaluate(candidate, prepared, observer);
  EXPECT_EQ(outcome.ending, Ending::OutOfMemory);
  EXPECT_NE(outcome.message.find(prepared.parts), std::string::npos) << outcome.message;
}

// A plan that the system refuses ends the trial, not the program (the dry run allocates little, so
// that only a back-end that cannot shows it).
TEST_F(Proxy, APlanThatIsRefusedIsOutOfMemory) {
  BackendPlugin plugin = builtin_catalog().backends.get("cpu");
  plugin.workspace_bytes = [](auto&&...) -> std::int64_t { throw std::bad_alloc(); };
  const Catalog catalog([&](Catalog& all) { all.backends.add("refused", plugin); });
  EvaluatorOptions options = options_for(data_);
  options.catalog = &catalog;
  options.backend = "refused";
  const auto evaluator = evaluators().get("proxy").make(options);
  Observer observer;
  const Outcome outcome = evaluator->evaluate(tiny_candidate(10), observer);
  EXPECT_EQ(outcome.ending, Ending::OutOfMemory);
  EXPECT_NE(outcome.message, "");
}

TEST_F(Proxy, RefusesARecipeThatItsTextCannotFeed) {
  Recipe recipe = tiny_recipe();
  recipe.batch = 1024;
  EXPECT_NE(bad_input_of([&] { make()->check(recipe); }).find("validation split is too small"),
            std::string::npos);
  EXPECT_EQ(
      bad_input_of([&] { evaluators().get("proxy").make(options_for("")); }).rfind("--data: ", 0),
      0u);
  EvaluatorOptions options = options_for(data_);
  options.vocab = 255;
  EXPECT_EQ(bad_input_of([&] { evaluators().get("proxy").make(options); }),
            "--vocab: fewer than the corpus has; allowed: at least 256; got: 255");
}

TEST_F(Proxy, SlowBlocksAreInfeasibleUnderTimedBudgets) {
  Candidate candidate = tiny_candidate(0);
  candidate.max_step_ratio = 1.0;
  candidate.budget = {Budget::Unit::Cpu, 0.2, ""};
  candidate.baseline = TimedBaseline{candidate.spec, 0.004};
  candidate.spec.stacks = 8;  // eight times the baseline
  const Outcome outcome = evaluate(candidate);
  EXPECT_EQ(outcome.ending, Ending::Infeasible);
  EXPECT_NE(outcome.message.find("allowed: 1.00x"), std::string::npos) << outcome.message;
  EXPECT_GT(outcome.measurement.step_ratio, 2);
}

}  // namespace
}  // namespace moebius
