#pragma once
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "search/results/statistics.h"

namespace moebius {

// The best block found beside one baseline.
struct Contrast {
  BlockResult baseline;
  double gain = 0;     // nats that the block is below the baseline
  double reach = 0;    // half the width of its interval; infinite when no block has two seeds
  bool apart() const;  // 0 lies outside
};

// What a study shows about the best block found, at 95 % over all comparisons at once. A claim
// needs kClaimSeeds seeds that had no part in choosing the block; without them the comparison shows
// what to expect. Where several blocks have such seeds, the best of them was chosen by those, and
// the intervals allow for each of them.
struct Verdict {
  std::optional<BlockResult> subject;  // the confirmed block, else the best one
  bool confirmed = false;
  std::optional<BlockResult> leader;        // the best one where that is another, not confirmed
  std::int64_t candidates = 0, blocks = 0;  // confirmed ones, and all
  std::vector<Contrast> contrasts;          // one for each baseline, by number
};
Verdict weigh(const Ranking& ranking, const Deviations& deviations);

// Seeds that a claim about a block still lacks, and the trial that names it.
struct SeedWish {
  std::int64_t number = 0, missing = 0;
};
// Of the leader, or else of the subject, and of the baselines beside it; empty: all are there.
std::vector<SeedWish> lacking_seeds(const Verdict& verdict);

// The study that a verdict is printed for.
struct StudyWords {
  std::string budget;  // as the study keeps it
  std::string where;   // the options that name it: " --db r.db --study first"
};
// A sentence for each baseline, "at equal tokens agfa (trial 9) beats glam-nano by 0.0312 nats
// [0.0100, 0.0520] ..": at which cost, and what else differs. Then, where a seed that chose a block
// still counts for it, that and the command that answers it.
std::string verdict_text(const Verdict& verdict, const StudyWords& study);

}  // namespace moebius
