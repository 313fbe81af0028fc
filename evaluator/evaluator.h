#pragma once
#include <cstdint>
#include <functional>
#include <limits>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "evaluator/budget.h"
#include "evaluator/outcome.h"
#include "space/recipe.h"
#include "space/spec.h"

namespace moebius {

// The gate baseline as its own trial measured it: what budgets in seconds and both gates compare
// with.
struct GateBaseline {
  Spec spec;
  double step_seconds = 0;        // by the budget's clock, measured once per study, stored
  std::vector<CurvePoint> curve;  // its quarter is the quality gate
  std::int64_t steps = 0;
  double margin = 0.02;       // nats a candidate may be worse at a quarter
  double max_step_ratio = 0;  // step-time constraint; 0 = none
};

// One candidate to judge. Everything an evaluation depends on is in here or in the evaluator's own
// options.
struct Candidate {
  std::int64_t trial = 0;
  std::int64_t attempt = 1;
  Spec spec;
  Recipe recipe;
  Budget budget;
  std::int64_t fixed_steps =
      0;  // > 0: resolved before (resume, re-run); the budget is not resolved again
  double fixed_ratio = std::numeric_limits<double>::quiet_NaN();  // step ratio, if measured then
  std::uint64_t seed = 0;
  bool gated = false;  // search trials: both gates; baselines, re-runs and noise: none
  std::optional<GateBaseline> baseline;
  // Where an attempt that was stopped or killed starts again; "" = nowhere. Written at a stop and
  // after every `checkpoint_seconds` of training; gone when the attempt has ended.
  std::string checkpoint;
  double checkpoint_seconds = 300;
  std::string keep_weights;  // where a finished model is written; "" = nowhere
};

// Live talk of a running evaluation. Called from the evaluating thread; must not block.
class Observer {
 public:
  virtual ~Observer() = default;
  virtual void timed(double /*step_ratio*/) {}  // beside the baseline; before planned()
  virtual void planned(std::int64_t /*steps*/) {}
  virtual void point(const CurvePoint& /*point*/, std::int64_t /*of_steps*/) {}
  virtual bool stop() { return false; }  // true: checkpoint and come back with Ending::Stopped
};

// Judges candidates. evaluate() is called from several threads at once, each with another
// candidate.
class Evaluator {
 public:
  virtual ~Evaluator() = default;
  virtual std::int64_t vocab() const = 0;  // V of what it trains on
  virtual std::string data_hash() const {
    return "";
  }  // identity of the corpus, stored with the study
  // Error(BadInput) when the recipe cannot run on this data ("less than one window"); asked before
  // anything is written.
  virtual void check(const Recipe& /*recipe*/) const {}
  virtual std::int64_t peak_bytes(
      const Candidate& candidate) const = 0;  // pre-flight, no allocation
  // CPU (or wall) seconds of one optimizer step of the gate baseline, measured; 0 when the
  // evaluator has no clock.
  virtual double step_seconds(const Spec& /*spec*/, const Recipe& /*recipe*/, bool /*wall*/) {
    return 0;
  }
  // Whether a search trial's step is timed beside the baseline's, where the budget has a clock:
  // else nothing judges a step-time constraint.
  virtual bool compares_steps() const { return true; }
  virtual Outcome evaluate(const Candidate& candidate, Observer& observer) = 0;
};

struct Catalog;  // model/catalog.h
struct EvaluatorOptions {
  std::string data;        // corpus: text, JSONL, directory, .bin, or "builtin"
  std::string tokenizer;   // "" = bytes, else a SentencePiece model
  std::int64_t vocab = 0;  // rows of the embedding table; 0 = the corpus' vocabulary
  std::string backend = "cpu", precision = "auto";
  int threads = 1;                // per trial
  std::string command;            // command evaluator: the program
  std::string directory;          // where an evaluator may leave files of its own
  std::int64_t memory_limit = 0;  // bytes for all trials together; 0 = what the machine has free
  double timeout_seconds = 0;     // command evaluator
  const Catalog* catalog = nullptr;
};
struct EvaluatorPlugin {
  std::string help;
  std::function<std::unique_ptr<Evaluator>(const EvaluatorOptions&)> make;
};
const Registry<EvaluatorPlugin>& evaluators();  // of evaluators.def: proxy, synthetic, command

}  // namespace moebius
