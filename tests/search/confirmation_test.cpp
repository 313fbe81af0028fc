#include "search/study/confirmation.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "search/results/statistics.h"
#include "study_support.h"

namespace moebius {
namespace {

using namespace testing_support;

class Confirmation : public StudyTest {
 protected:
  // "number role seeds" of what is wanted.
  std::vector<std::string> wanted(const StudyConfig& config, const Study& study) {
    std::vector<std::string> lines;
    for (const SeedsWanted& block : seeds_to_confirm(config, study.history()))
      lines.push_back(fmt::format("{} {} {}", block.number, role_text(block.role), block.seeds));
    return lines;
  }
  void add(Study& study, const SeedsWanted& block, std::int64_t seeds) {
    const Spec spec = study.history().find(block.number)->spec;
    study.add({spec}, block.role, block.number, seeds);
  }
  static std::int64_t best(const History& history) {
    std::int64_t number = -1;
    double loss = 1e9;
    for (const Trial* trial : history.of_role(TrialRole::Search))
      if (trial->loss() < loss) {
        loss = trial->loss();
        number = trial->number;
      }
    return number;
  }
};

TEST_F(Confirmation, WantsFreshSeedsForTheBestBlockAndForBaselines) {
  const StudyConfig config = study_config(space, 12);
  ASSERT_EQ(config.confirm, 1);
  Study study = make(config);
  finish(study);
  EXPECT_THAT(wanted(config, study),
              ::testing::ElementsAre(fmt::format("{} rerun 3", best(study.history())), "0 noise 2",
                                     "1 noise 2"));
  EXPECT_EQ(most_seeds_to_confirm(config), 7);
}

TEST_F(Confirmation, WantsWhatIsLeft) {
  const StudyConfig config = study_config(space, 12);
  Study study = make(config);
  finish(study);
  const auto all = seeds_to_confirm(config, study.history());
  add(study, all[0], 2);
  add(study, all[1], all[1].seeds);
  EXPECT_THAT(wanted(config, study),
              ::testing::ElementsAre(fmt::format("{} rerun 1", all[0].number), "1 noise 2"));
  // Fresh losses, good or bad, choose no other finalist; a seed that diverged is not asked again.
  for (Study::Asked asked = study.ask(); asked.trial; asked = study.ask()) {
    Outcome outcome;
    outcome.ending = Ending::Diverged;
    study.tell(*asked.trial, outcome);
  }
  EXPECT_THAT(wanted(config, study),
              ::testing::ElementsAre(fmt::format("{} rerun 1", all[0].number), "1 noise 2"));
  for (const SeedsWanted& block : seeds_to_confirm(config, study.history()))
    add(study, block, block.seeds);
  EXPECT_THAT(wanted(config, study), ::testing::IsEmpty());
}

TEST_F(Confirmation, WantsNothingWhereNothingIsClaimed) {
  StudyConfig config = study_config(space, 6);
  Study study = make(config);
  EXPECT_THAT(wanted(config, study), ::testing::IsEmpty());  // nothing was found yet
  finish(study);
  config.confirm = 0;
  EXPECT_THAT(wanted(config, study), ::testing::IsEmpty());
  config.confirm = 1;
  config.evaluator = kElsewhere;
  EXPECT_THAT(wanted(config, study), ::testing::IsEmpty());
}

}  // namespace
}  // namespace moebius
