#pragma once
#include <cstdint>
#include <vector>

#include "search/results/history.h"
#include "search/study/config.h"

namespace moebius {

struct SeedsWanted {
  std::int64_t number = 0;  // of the block's first trial
  TrialRole role = TrialRole::Rerun;
  std::int64_t seeds = 0;
};
// What a study lacks for a verdict when its search has ended: kClaimSeeds seeds that chose nothing
// for each of its `confirm` finalists, the searched blocks whose own trials have the lowest losses,
// and as many for each baseline. Seeds that were trained count, however they ended. A function of
// the search trials and of what was added since, so that a resume wants what is left.
std::vector<SeedsWanted> seeds_to_confirm(const StudyConfig& config, const History& history);
// How many that can be, before the search has ended.
std::int64_t most_seeds_to_confirm(const StudyConfig& config);

}  // namespace moebius
