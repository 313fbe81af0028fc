#include <cmath>
#include <set>

#include "evaluator_support.h"

namespace moebius {
namespace {

using namespace testing_support;

// Sets an environment variable for one test.
class Setting {
 public:
  Setting(const char* name, const char* value) : name_(name) { setenv(name, value, 1); }
  ~Setting() { unsetenv(name_); }

 private:
  const char* name_;
};

std::unique_ptr<Evaluator> make() { return evaluators().get("synthetic").make(options_for("")); }

Outcome evaluate(const Candidate& candidate) {
  Observer observer;
  return make()->evaluate(candidate, observer);
}

TEST(Synthetic, IsAFunctionOfSpecAndSeed) {
  Candidate candidate = tiny_candidate(100);
  const Outcome first = evaluate(candidate), again = evaluate(candidate);
  EXPECT_EQ(first.ending, Ending::Done);
  EXPECT_EQ(first.measurement.loss, again.measurement.loss);
  EXPECT_EQ(first.measurement.result_hash, again.measurement.result_hash);
  candidate.seed = 2;
  const double other_seed = evaluate(candidate).measurement.loss;
  EXPECT_NE(other_seed, first.measurement.loss);
  EXPECT_NEAR(other_seed, first.measurement.loss, 0.05);  // noise: 0.005
  candidate.spec = tiny_spec(kTop2);
  EXPECT_NE(evaluate(candidate).measurement.loss, other_seed);
}

TEST(Synthetic, NoiseHasTheStatedDeviation) {
  Candidate candidate = tiny_candidate(100);
  double sum = 0, squares = 0;
  constexpr int kSeeds = 400;
  for (int seed = 0; seed < kSeeds; ++seed) {
    candidate.seed = static_cast<std::uint64_t>(seed);
    const double loss = evaluate(candidate).measurement.loss;
    sum += loss;
    squares += loss * loss;
  }
  const double mean = sum / kSeeds;
  EXPECT_NEAR(std::sqrt(squares / kSeeds - mean * mean), 0.005, 0.0006);
}

TEST(Synthetic, TheKnownOptimumIsBelowItsNeighbours) {
  const auto block = [](const std::string& order, int d_ffn) {
    Spec spec = tiny_spec();
    const SubLayer attention = spec.sublayers[0];
    SubLayer experts = tiny_spec(kTop2).sublayers[1], dense = spec.sublayers[1];
    experts.fields["d_moe"] = std::int64_t{64};
    experts.fields["capacity"] = 2.0;
    dense.fields["d_ffn"] = std::int64_t{d_ffn};
    spec.sublayers.clear();
    for (const char type : order)
      spec.sublayers.push_back(type == 'a' ? attention : type == 'g' ? experts : dense);
    Candidate candidate = tiny_candidate(1'000'000);
    candidate.spec = spec;
    return evaluate(candidate).measurement.loss;
  };
  const double best = block("agfgfagf", 64);
  EXPECT_NEAR(best, 2.01, 0.03);
  for (const double worse : {block("aaaaaaaa", 64), block("gggggggg", 64), block("agfgfagf", 512),
                             block("aagggfff", 64), block("ffffffff", 64)})
    EXPECT_LT(best + 0.02, worse);
  EXPECT_LT(best + 0.3, block("aaaaaaaa", 64));
}

TEST(Synthetic, FaultsHappenAsOftenAsAskedAndDeterministically) {
  const Setting nan("MOEBIUS_SYNTHETIC_NAN", "30"), oom("MOEBIUS_SYNTHETIC_OOM", "20");
  const auto evaluator = make();
  Observer observer;
  int diverged = 0, memory = 0;
  for (std::uint64_t seed = 0; seed < 500; ++seed) {
    Candidate candidate = tiny_candidate(100);
    candidate.seed = seed;
    const Outcome outcome = evaluator->evaluate(candidate, observer);
    EXPECT_EQ(outcome.ending, evaluator->evaluate(candidate, observer).ending);
    EXPECT_EQ(std::isnan(outcome.measurement.loss), outcome.ending != Ending::Done);
    diverged += outcome.ending == Ending::Diverged;
    memory += outcome.ending == Ending::OutOfMemory;
  }
  EXPECT_NEAR(memory, 100, 30);
  EXPECT_NEAR(diverged, 0.8 * 150, 35);
}

TEST(Synthetic, SettingsAreChecked) {
  for (const char* text : {"abc", "-1", "101", "5%", ""}) {
    const Setting nan("MOEBIUS_SYNTHETIC_NAN", text);
    EXPECT_EQ(bad_input_of([] { make(); }).rfind("MOEBIUS_SYNTHETIC_NAN: ", 0), 0u) << text;
  }
}

TEST(Synthetic, TimedBudgetsAndStepTimesAreDeterministic) {
  Candidate candidate = tiny_candidate(0);
  candidate.budget = {Budget::Unit::Cpu, 20, ""};
  const double seconds = make()->step_seconds(candidate.spec, candidate.recipe, false);
  const Outcome outcome = evaluate(candidate);
  EXPECT_EQ(outcome.measurement.steps, static_cast<std::int64_t>(20 / seconds));
  candidate.max_step_ratio = 1.0;
  candidate.baseline = TimedBaseline{candidate.spec, seconds};
  EXPECT_EQ(evaluate(candidate).ending, Ending::Done);
  candidate.spec.stacks = 2;
  EXPECT_EQ(evaluate(candidate).ending, Ending::Infeasible);
  candidate.max_step_ratio.reset();
  EXPECT_EQ(evaluate(candidate).ending, Ending::Done);
}

TEST(Synthetic, StopsWhenAsked) {
  StopAfter observer(3);
  EXPECT_EQ(make()->evaluate(tiny_candidate(100), observer).ending, Ending::Stopped);
}

}  // namespace
}  // namespace moebius
