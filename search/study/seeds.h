#pragma once
#include <cstdint>
#include <string_view>

#include "search/results/records.h"
#include "search/results/trial.h"

namespace moebius {

// The training seeds of a study: Philox keyed by the study (its --seed, name and space), counted by
// purpose and index. The same command gives the same seeds in any database; other studies and
// purposes have no seed in common but by a chance of 2^-32.
class TrainingSeeds {
 public:
  explicit TrainingSeeds(const StudySettings& study);
  // Below 2^32, which the generators of trainers take (numpy.random.seed).
  std::uint64_t at(std::string_view purpose, std::uint64_t index) const;
  // The k-th seed of a block in this role. All search trials take the first one, that of the
  // baselines too, so that they see the same batches in the same order; seeds that judge a block
  // anew are none that chose it.
  std::uint64_t of(TrialRole role, std::uint64_t index) const;

 private:
  std::uint64_t key_;
};

}  // namespace moebius
