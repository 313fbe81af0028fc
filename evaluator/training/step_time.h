#pragma once
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "evaluator/corpus/corpus.h"
#include "space/recipe.h"

namespace moebius {

class Learner;  // model/learner.h

// CPU seconds spent by this trial: of the calling thread when it trains with one thread; else of
// the whole process, which is right only while no other trial runs in it.
class CpuClock {
 public:
  explicit CpuClock(int threads) : threads_(threads) {}
  double seconds() const;

 private:
  int threads_;
};
double wall_seconds();  // monotonic

// Step time of a candidate over the baseline's: median and quartiles of the ratios of neighbouring
// steps. Drift of the machine's clock changes both steps of a pair, so it cancels in their ratio.
struct StepRatio {
  double median = 1, low = 1, high = 1;
  int pairs = 0;
};
// Quartiles of the ratios of paired samples.
StepRatio ratio_of(const std::vector<double>& candidate, const std::vector<double>& baseline);

// "" or why the measured step time is above `limit`. Only a whole interquartile range above it is:
// an unsettled ratio never rejects.
std::string why_too_slow(const StepRatio& ratio, std::optional<double> limit);

// How steps are timed: on training batches, after two steps of warm-up, until `seconds` of CPU are
// spent and at least five samples taken.
struct Timing {
  const Corpus& corpus;
  const Recipe& recipe;
  double seconds = 2;
  int threads = 1;
  bool wall = false;  // the clock that steps are measured by; else CPU
};
// Median seconds of one optimizer step. Trains the learner, which is of no use afterwards.
double time_steps(Learner& learner, const Timing& timing);
// Alternates one step of each, so that clock drift cancels in the ratio of neighbours. Trains both.
StepRatio compare_steps(Learner& candidate, Learner& baseline, const Timing& timing);

}  // namespace moebius
