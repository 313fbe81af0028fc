#pragma once
#include <cstdint>
#include <limits>
#include <optional>
#include <string>
#include <vector>

#include "evaluator/training/budget.h"
#include "evaluator/training/outcome.h"
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

}  // namespace moebius
