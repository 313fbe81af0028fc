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

// The study's first baseline: what steps are timed beside.
struct TimedBaseline {
  Spec spec;
  double step_seconds = 0;  // by the budget's clock, measured once per study, stored
};

// One candidate to judge. Everything an evaluation depends on is in here or in the evaluator's own
// options.
struct Candidate {
  std::int64_t trial = 0;
  std::int64_t attempt = 1;
  Spec spec;
  Recipe recipe;
  Budget budget;
  // > 0: resolved before (resume, re-run); the budget is not resolved again.
  std::int64_t fixed_steps = 0;
  double fixed_ratio = std::numeric_limits<double>::quiet_NaN();  // step ratio, if measured then
  std::uint64_t seed = 0;
  std::optional<TimedBaseline> baseline;
  // Greatest step time over the baseline's; search trials only.
  std::optional<double> max_step_ratio;
  // Where an attempt that was stopped or killed starts again; "" = nowhere. Written at a stop and
  // after every `checkpoint_seconds` of training; gone when the attempt has ended.
  std::string checkpoint;
  double checkpoint_seconds = 300;
  std::string keep_weights;  // where a finished model is written; "" = nowhere
  std::string directory;     // where an evaluator may leave files of its own
};

// How long an attempt will train.
struct StepPlan {
  std::int64_t steps = 0;
  std::int64_t done = 0;  // by an earlier part of the attempt
  double step_ratio = std::numeric_limits<double>::quiet_NaN();  // if timed beside the baseline
};

// Live talk of a running evaluation. Called from the evaluating thread; must not block.
class Observer {
 public:
  virtual ~Observer() = default;
  virtual void planned(const StepPlan&) {}
  // "" = go on; else why the trial is to end now as pruned.
  virtual std::string point(const CurvePoint& /*point*/, std::int64_t /*of_steps*/) { return ""; }
  // Whether anybody wants the weights of a model that ended with this loss. Asked once, before they
  // are written to `keep_weights`.
  virtual bool wants_weights(double /*loss*/) { return true; }
  virtual bool stop() { return false; }  // true: checkpoint and come back with Ending::Stopped
};

}  // namespace moebius
