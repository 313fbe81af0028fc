#pragma once
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "search/results/deviations.h"
#include "search/results/history.h"

namespace moebius {

struct Summary {
  std::int64_t n = 0;
  double mean = 0;  // NaN when n = 0
  double sd = 0;    // of one value, n - 1 in the denominator; NaN when n < 2
};
Summary summarize(const std::vector<double>& values);

// One block over all its seeds that have a loss: a row of the view `blocks`.
struct BlockResult {
  std::int64_t number = 0;  // of its first trial, whose role, label and sizes stand here
  TrialRole role = TrialRole::Search;
  std::string label, block, spec_hash;
  Summary loss, fresh;        // fresh: of reruns and noise trials alone
  std::int64_t diverged = 0;  // of those, how many ended without a loss
  double lowest = 0, highest = 0;
  std::string causal;  // the worst of its trials
  double native_loss = 0, bits_per_byte = 0, step_seconds = 0, step_ratio = 0, tokens = 0,
         flops_per_token = 0, tokens_per_active_parameter = 0;  // means; NaN = not measured
  std::int64_t parameters = 0, active_parameters = 0;

  bool searched() const { return role != TrialRole::Baseline && role != TrialRole::Control; }
  // Over the seeds that had no part in choosing it: of a block that a search found the fresh ones.
  const Summary& unselected() const { return role == TrialRole::Search ? fresh : loss; }
  // Of a mean over some of its seeds. The deviation is that of all: a lucky first seed can only
  // make it larger.
  Estimate estimate(const Summary& mean) const;
};
// What the trials of one block, in number order, come to. NaN and n = 0 where none has a loss.
BlockResult block_result(const std::vector<const Trial*>& trials);

// The order of blocks. "Best" means it everywhere: the lowest mean over all seeds, and among equals
// the lowest number of a first trial.
bool is_better(const BlockResult& left, const BlockResult& right);

// The noise floor: standard deviation of one loss over seeds of one block, pooled over all blocks
// with at least two seeds. NaN when there is none; `degrees` = seeds - blocks behind it.
struct Noise {
  double sd = 0;
  std::int64_t degrees = 0;
};

// Seeds that chose nothing, which a claim about a block needs.
inline constexpr std::int64_t kClaimSeeds = 3;

// The blocks of a study that have a loss.
struct Ranking {
  std::vector<BlockResult> blocks;     // the best first, as many as were asked for
  std::vector<BlockResult> baselines;  // those of baselines, by number, wherever they rank
  std::optional<BlockResult> best;     // the best one that was searched for
  // Of the searched blocks with kClaimSeeds unselected seeds: the one whose mean over those is the
  // lowest, and how many there are.
  std::optional<BlockResult> confirmed;
  std::int64_t candidates = 0;
  std::int64_t all = 0;             // blocks with a loss
  Noise noise;                      // over all
  std::vector<Estimate> estimates;  // of the blocks with at least two seeds
};
// At most `limit` blocks; 0 = all. Reads the trials that it needs: a limit makes it cheap.
Ranking rank_blocks(const History& history, std::int64_t limit = 0);

}  // namespace moebius
