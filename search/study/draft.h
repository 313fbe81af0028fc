#pragma once
#include <cstdint>
#include <string>
#include <vector>

#include "search/results/history.h"
#include "search/study/config.h"
#include "search/study/seeds.h"

namespace moebius {

// Trials that are to be appended to a study in one transaction, and the history as it will be.
class Draft {
 public:
  Draft(const History& history, const Space& space, const TrainingSeeds& seeds)
      : history_(history), space_(space), seeds_(seeds) {}

  // Seed by seed, the first seeds first; what is there already is left out.
  void baselines(const std::vector<Baseline>& baselines, std::int64_t seeds);
  // A search trial; the number that the block has, or gets.
  std::int64_t enqueue(const Spec& spec);
  // The block under the first seed of the role that it has not been given.
  std::int64_t another(const Spec& spec, TrialRole role, std::int64_t parent,
                       const std::string& label = "");
  // A trial with the role Scaled and the block's name as label, unless there is one.
  void scaled(const Baseline& block);

  std::vector<Trial>& trials() { return trials_; }

 private:
  Trial make(const Spec& spec, TrialRole role, std::uint64_t seed) const;
  std::int64_t append(Trial trial);
  std::vector<const Trial*> of_block(const std::string& spec_hash) const;  // drafted ones too

  History history_;
  const Space& space_;
  const TrainingSeeds seeds_;
  std::vector<Trial> trials_;
};

}  // namespace moebius
