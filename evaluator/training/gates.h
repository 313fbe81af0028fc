#pragma once
#include <cstdint>
#include <string>

#include "evaluator/training/candidate.h"
#include "evaluator/training/step_time.h"

namespace moebius {

// The two gates that a search trial passes (DESIGN 4), the same for every evaluator.

// Steps done when quality is judged: a quarter, rounded up.
std::int64_t quarter(std::int64_t steps);
// Validation loss at a quarter above which the candidate is pruned: the baseline's at its own
// quarter + margin. Infinite when the candidate is not gated or the baseline has no such point.
double quality_limit(const Candidate& candidate);
std::string why_pruned(double loss, std::int64_t step, std::int64_t steps, double limit);

// "" or why the measured step time breaks the constraint. Only a whole interquartile range above
// the limit does: an unsettled ratio never rejects.
std::string why_too_slow(const StepRatio& ratio, const Candidate& candidate);

}  // namespace moebius
