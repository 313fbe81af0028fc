#pragma once
#include <cstdint>
#include <limits>
#include <optional>
#include <string>
#include <vector>

#include "evaluator/training/candidate.h"
#include "space/base/json.h"

namespace moebius {

// Everything of a training run that is not in the learner: saved in the metadata of its checkpoint.
struct Progress {
  std::int64_t steps = 0;  // of the whole run, fixed before step 1
  std::int64_t step = 0;   // done
  double step_ratio = std::numeric_limits<double>::quiet_NaN();  // measured before step 1
  double loss_sum = 0;  // of the training loss since the last point of the curve
  std::int64_t loss_count = 0;
  double first_loss = 0, smoothed_loss = 0;  // for divergence
  double kept = 0, dropped = 0;              // (token, expert) pairs so far
  double cpu_seconds = 0, wall_seconds = 0;  // of training steps
  std::vector<CurvePoint> curve;
};

// Adds the loss of step `progress.step` to the smoothed loss; called once a step. Returns "" or why
// the run has diverged: a loss or gradient norm is not finite, or the smoothed loss is above twice
// the first loss once 10 % of the steps are done.
std::string take_loss(Progress& progress, double loss, double gradient_norm);

Json to_json(const Progress& progress);
Progress read_progress(Reader reader);

// The progress in a checkpoint that was saved with the same `identity`; else nothing. A file that
// cannot be used is a warning, and the caller starts at step 0.
std::optional<Progress> checkpoint_progress(const std::string& path, const Json& identity);
// The metadata of such a checkpoint.
Json checkpoint_metadata(const Progress& progress, const Json& identity);

}  // namespace moebius
