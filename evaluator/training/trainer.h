#pragma once
#include <cstdint>
#include <string>
#include <vector>

#include "evaluator/corpus/corpus.h"
#include "evaluator/training/candidate.h"
#include "evaluator/training/progress.h"
#include "model/learner.h"

namespace moebius {

// The training loop: everything about it is a function of step indices, so that an interrupted and
// resumed run gives the same bits as one that was left alone. A clock decides when to save, and
// nothing else.

struct TrainPlan {
  std::uint64_t seed = 0;         // of the batches
  std::string checkpoint;         // where the run is saved; "" = nowhere
  double checkpoint_seconds = 0;  // of training, from one save to the next
  Json identity;                  // of the run, saved with it (evaluator/training/progress.h)
  int threads = 1;
};

struct TrainResult {
  Ending ending = Ending::Done;  // Done, Pruned, Diverged or Stopped
  std::string message;
  double step_seconds = 0;  // CPU, median
};

// Runs from `progress` (step 0, or what was read and restored) to the end, a prune, divergence (a
// loss or gradient that is not finite; after 10 % of the steps a smoothed loss above twice the
// first) or a stop. 48 points a run go to the observer, 16 of them into the curve, and at 8 of
// those, among them the quarter, the validation loss is taken on the first 8 fixed batches.
TrainResult train(Learner& learner, const Corpus& corpus, const Recipe& recipe,
                  const TrainPlan& plan, Progress& progress, Observer& observer);

// Mean loss over the first `batches` fixed batches of a split, nats per token.
double mean_loss(Learner& learner, const Corpus& corpus, Split split, const Recipe& recipe,
                 std::int64_t batches, Mode mode);
// Fixed batches that make up the recipe's eval_tokens, at least one, at most the split.
std::int64_t evaluation_batches(const Corpus& corpus, Split split, const Recipe& recipe);

// XXH3-128 over the curve's losses, the final loss and every parameter: equal for equal bits.
std::string result_hash(Learner& learner, const std::vector<CurvePoint>& curve, double loss);

}  // namespace moebius
