#include "search/study/seeds.h"

#include "space/base/hash.h"
#include "space/base/rng.h"

namespace moebius {

TrainingSeeds::TrainingSeeds(const StudySettings& study)
    : key_(derive_key(study.seed, study.name + "\n" + study.space.dump())) {}

std::uint64_t TrainingSeeds::at(std::string_view purpose, std::uint64_t index) const {
  return philox(key_, index, hash64(purpose))[0];
}

std::uint64_t TrainingSeeds::of(TrialRole role, std::uint64_t index) const {
  const bool anew = role == TrialRole::Rerun || role == TrialRole::Noise;
  return at(anew ? "fresh" : "compare", index);
}

}  // namespace moebius
