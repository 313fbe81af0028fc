#include "search/study/seeds.h"

#include <gtest/gtest.h>

#include <set>

namespace moebius {
namespace {

StudySettings study(std::uint64_t seed, const std::string& name = "first",
                    const std::string& space = "small") {
  StudySettings settings;
  settings.seed = seed;
  settings.name = name;
  settings.space = {{"name", space}};
  return settings;
}

TEST(TrainingSeeds, NoStudyOrPurposeHasASeedOfAnother) {
  std::set<std::uint64_t> met;
  const StudySettings studies[] = {study(1), study(2), study(3), study(1, "second"),
                                   study(1, "first", "large")};
  for (const StudySettings& one : studies)
    for (const TrialRole role : {TrialRole::Search, TrialRole::Rerun})
      for (std::uint64_t index = 0; index < 200; ++index)
        EXPECT_TRUE(met.insert(TrainingSeeds(one).of(role, index)).second);
}

TEST(TrainingSeeds, AreTheSameForTheSameStudy) {
  for (const std::uint64_t index : {0, 1, 7}) {
    const std::uint64_t seed = TrainingSeeds(study(5)).of(TrialRole::Noise, index);
    EXPECT_EQ(TrainingSeeds(study(5)).of(TrialRole::Rerun, index), seed);
    EXPECT_LT(seed, std::uint64_t{1} << 32);
  }
}

// Search trials see the batches of the baselines; seeds that judge a block anew are others.
TEST(TrainingSeeds, FreshOnesAreNoneThatChose) {
  const TrainingSeeds seeds(study(5));
  EXPECT_EQ(seeds.of(TrialRole::Search, 0), seeds.of(TrialRole::Baseline, 0));
  EXPECT_EQ(seeds.of(TrialRole::Search, 0), seeds.of(TrialRole::Control, 0));
  EXPECT_NE(seeds.of(TrialRole::Search, 0), seeds.of(TrialRole::Rerun, 0));
}

// What stored studies were trained with must not change.
TEST(TrainingSeeds, StayWhatTheyAre) {
  EXPECT_EQ(TrainingSeeds(study(1)).of(TrialRole::Search, 0), 3509957049U);
}

}  // namespace
}  // namespace moebius
