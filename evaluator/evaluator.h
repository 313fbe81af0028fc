#pragma once
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "evaluator/budget.h"
#include "space/recipe.h"
#include "space/spec.h"

namespace moebius {

// How an attempt ended. A failed architecture is a value, never an exception.
enum class Ending {
  Done,
  Pruned,
  Diverged,
  Infeasible,
  OutOfMemory,
  Failed,
  Stopped /* by request; resumable */
};
std::string ending_text(Ending ending);  // "done", "pruned", "diverged", "infeasible",
                                         // "out_of_memory", "failed", "stopped"

struct CurvePoint {
  std::int64_t step = 0;   // steps done
  double train_loss = 0;   // mean since the last point, nats per token
  double valid_loss = 0;   // on the fixed small subset; NaN when not evaluated here
  double cpu_seconds = 0;  // training only
};

// What one ended attempt measured (a row of `measurement`). NaN = not measured.
struct Measurement {
  double loss;          // final causal validation loss, nats per token; NaN unless Done
  double native_loss;   // with the training routing; loss - native_loss is the leak
  double stopped_loss;  // last interim validation loss of an attempt that did not finish
  std::int64_t stopped_step = 0;
  double bits_per_byte;
  std::string causal;  // "yes" | "drops" | "selection", measured by the probe
  std::string split = "validation";
  double epochs = 0;                         // passes over the training split
  std::int64_t steps = 0, tokens = 0;        // trained
  double flops = 0;                          // static FLOPs per step x steps
  double cpu_seconds = 0, wall_seconds = 0;  // training only
  double virtual_seconds;                    // predicted, NaN without a profile
  double step_seconds;                       // thread-CPU median of one optimizer step
  double step_ratio;  // candidate / baseline, measured interleaved; NaN when not needed
  std::int64_t parameters = 0, active_parameters = 0;
  double active_flops = 0;  // per token, forward, without the head
  std::int64_t peak_bytes = 0;
  double kept_pairs = 0, dropped_pairs = 0;  // per step, mean
  double tokens_per_active_parameter = 0;
  std::string result_hash;  // over weights and curve: equal for equal bits
  Measurement();            // numbers that may be absent are NaN
};

struct Outcome {
  Ending ending = Ending::Failed;
  std::string message;  // why, with the numbers; empty when Done
  Measurement measurement;
  std::vector<CurvePoint> curve;
};

// The gate baseline as its own trial measured it: what budgets in seconds and both gates compare
// with.
struct GateBaseline {
  Spec spec;
  double step_seconds = 0;        // measured once per study, stored
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
  std::uint64_t seed = 0;
  bool gated = false;  // search trials: both gates; baselines, re-runs and noise: none
  std::optional<GateBaseline> baseline;
  std::string checkpoint;    // where a stopped attempt leaves off and starts again; "" = nowhere
  std::string keep_weights;  // where a finished model is written; "" = nowhere
};

// Live talk of a running evaluation. Called from the evaluating thread; must not block.
class Observer {
 public:
  virtual ~Observer() = default;
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
  virtual std::int64_t peak_bytes(
      const Candidate& candidate) const = 0;  // pre-flight, no allocation
  // CPU seconds of one optimizer step of the gate baseline, measured; 0 when the evaluator has no
  // clock.
  virtual double step_seconds(const Spec& spec, const Recipe& recipe) {
    (void)spec;
    (void)recipe;
    return 0;
  }
  virtual Outcome evaluate(const Candidate& candidate, Observer& observer) = 0;
};

struct Catalog;  // model/catalog.h
struct EvaluatorOptions {
  std::string data;       // corpus: text, JSONL, directory, .bin, or "builtin"
  std::string tokenizer;  // "" = bytes, else a SentencePiece model
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
