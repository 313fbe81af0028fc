#include "search/study/confirmation.h"

#include <algorithm>
#include <set>

#include "search/results/statistics.h"

namespace moebius {
namespace {

// The first trials of the finalists, the best first.
std::vector<const Trial*> finalists(const StudyConfig& config, const History& history) {
  std::vector<const Trial*> found;
  std::set<std::string> met;
  for (const Trial* trial : history.of_role(TrialRole::Baseline)) met.insert(trial->spec_hash);
  const auto wanted = static_cast<std::size_t>(config.confirm);
  for (std::int64_t limit = 64;; limit *= 4) {
    const std::vector<const Trial*> trials = history.by_loss(limit);
    for (const Trial* trial : trials) {
      if (found.size() == wanted) return found;
      if (trial->role == TrialRole::Search && met.insert(trial->spec_hash).second)
        found.push_back(trial);
    }
    if (static_cast<std::int64_t>(trials.size()) < limit) return found;
  }
}

}  // namespace

std::int64_t most_seeds_to_confirm(const StudyConfig& config) {
  if (config.confirm == 0 || config.trials == 0 || config.evaluator == kElsewhere) return 0;
  const auto baselines = static_cast<std::int64_t>(config.baselines.size());
  return std::min(config.confirm, config.trials) * kClaimSeeds +
         baselines * std::max<std::int64_t>(0, kClaimSeeds - config.baseline_seeds);
}

std::vector<SeedsWanted> seeds_to_confirm(const StudyConfig& config, const History& history) {
  std::vector<SeedsWanted> result;
  if (most_seeds_to_confirm(config) == 0) return result;
  const auto want = [&](const Trial& first, TrialRole role) {
    const std::vector<const Trial*> trials = history.of_block(first.spec_hash);
    const std::int64_t has = std::count_if(trials.begin(), trials.end(), [&](const Trial* trial) {
      const bool fresh = trial->role == TrialRole::Rerun || trial->role == TrialRole::Noise;
      return fresh || first.role == TrialRole::Baseline;
    });
    if (has < kClaimSeeds) result.push_back({first.number, role, kClaimSeeds - has});
  };
  const std::vector<const Trial*> found = finalists(config, history);
  if (found.empty()) return result;
  for (const Trial* trial : found) want(*trial, TrialRole::Rerun);
  std::set<std::string> met;
  for (const Trial* trial : history.of_role(TrialRole::Baseline))
    if (met.insert(trial->spec_hash).second && trial->state == TrialState::Done)
      want(*trial, TrialRole::Noise);
  return result;
}

}  // namespace moebius
