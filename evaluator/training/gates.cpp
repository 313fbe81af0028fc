#include "evaluator/training/gates.h"

#include <cmath>
#include <limits>

namespace moebius {

std::int64_t quarter(std::int64_t steps) { return (steps + 3) / 4; }

double quality_limit(const Candidate& candidate) {
  constexpr double kNone = std::numeric_limits<double>::infinity();
  if (!candidate.gated || !candidate.baseline) return kNone;
  const GateBaseline& baseline = *candidate.baseline;
  for (const CurvePoint& point : baseline.curve)
    if (point.step >= quarter(baseline.steps) && std::isfinite(point.valid_loss))
      return point.valid_loss + baseline.margin;
  return kNone;
}

std::string why_pruned(double loss, std::int64_t step, std::int64_t steps, double limit) {
  return fmt::format(
      "validation loss {:.4f} after {} of {} steps; allowed: {:.4f}, the baseline's "
      "at a quarter and the margin",
      loss, step, steps, limit);
}

std::string why_too_slow(const StepRatio& ratio, const Candidate& candidate) {
  if (!candidate.gated || !candidate.baseline) return "";
  const double limit = candidate.baseline->max_step_ratio;
  if (limit <= 0 || ratio.pairs == 0 || ratio.low <= limit) return "";
  return fmt::format(
      "step time {:.2f}x the baseline's ({:.2f}-{:.2f} over {} pairs); allowed: "
      "{:.2f}x",
      ratio.median, ratio.low, ratio.high, ratio.pairs, limit);
}

}  // namespace moebius
