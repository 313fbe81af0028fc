#include <gtest/gtest.h>

#include <limits>

#include "search/results/statistics.h"
#include "search_support.h"

namespace moebius {
namespace {

using namespace testing_support;

constexpr double kNan = std::numeric_limits<double>::quiet_NaN();

// Whatever is done to them, all databases hold the same.
TEST(Databases, AgreeAfterAnySequenceOfVerbs) {
  const Folder folder;
  const Space space = small_space();
  const auto memory = open_db("memory:", OpenMode::Create);
  const auto sqlite = open_db(folder.file("r.db"), OpenMode::Create);
  const StudySettings settings = study_settings(space, 10);
  const std::int64_t study = memory->open_study(settings, true).id;
  ASSERT_EQ(sqlite->open_study(settings, true).id, study);
  Rng rng(3);
  std::int64_t count = 0;
  for (int i = 0; i < 300; ++i) {
    const std::uint64_t verb = rng.below(6);
    const auto attempt = static_cast<std::int64_t>(rng.below(3)) + 1;
    const TrialKey id{
        study,
        count == 0 ? 0 : static_cast<std::int64_t>(rng.below(static_cast<std::uint64_t>(count)))};
    const auto both = [&](auto&& call) {
      std::string left, right;
      const Exit a = error_code([&] { left = call(*memory); }, &left);
      const Exit b = error_code([&] { right = call(*sqlite); }, &right);
      EXPECT_EQ(a, b) << left << " / " << right;
      if (a == Exit::Done) {
        EXPECT_EQ(left, right);
      }
    };
    if (verb == 0 || count == 0) {
      Trial trial;
      trial.number = count;
      trial.role = TrialRole::Search;
      trial.point = space.sample(rng);
      trial.spec = space.resolve(trial.point);
      trial.spec_hash = spec_hash(trial.spec);
      both([&](ResultsDb& db) {
        std::vector<Trial> one{trial};
        db.propose(study, one, 1);
        return std::to_string(one[0].number);
      });
      ++count;
    } else if (verb == 1 || verb == 2) {
      const std::string owner = rng.below(2) ? "a:1" : "b:2";
      both([&](ResultsDb& db) { return std::to_string(db.claim(id, owner)); });
    } else if (verb == 3) {
      Outcome outcome;
      outcome.ending = rng.below(2) ? Ending::Done : Ending::Diverged;
      outcome.measurement.loss = rng.uniform();
      outcome.curve = {{static_cast<std::int64_t>(rng.below(4)), rng.uniform(), kNan, 0}};
      both([&](ResultsDb& db) { return std::to_string(db.finish(id, attempt, outcome)); });
    } else if (verb == 4) {
      const bool graceful = rng.below(2);
      both([&](ResultsDb& db) {
        db.release(id, attempt, graceful);
        return std::string();
      });
    } else {
      const CurvePoint point{static_cast<std::int64_t>(rng.below(4)), rng.uniform(), 1, 1};
      both([&](ResultsDb& db) {
        db.curve(id, attempt, {point});
        return std::string();
      });
    }
  }
  const History left = memory->history(study), right = sqlite->history(study);
  EXPECT_EQ(table(left), table(right));
  for (const Trial& trial : left.trials()) {
    const Trial& other = *right.find(trial.number);
    EXPECT_EQ(trial.attempt, other.attempt);
    ASSERT_EQ(trial.outcome.has_value(), other.outcome.has_value());
    if (trial.outcome) {
      EXPECT_EQ(memory->read_curve({study, trial.number}).size(),
                sqlite->read_curve({study, trial.number}).size());
    }
  }
  EXPECT_TRUE(sqlite->check().empty());
  EXPECT_EQ(left.open(), right.open());
  for (const TrialState state : {TrialState::Waiting, TrialState::Running, TrialState::Done,
                                 TrialState::Diverged, TrialState::Failed})
    EXPECT_EQ(left.count(state), right.count(state));
  EXPECT_EQ(left.count(TrialRole::Search), right.count(TrialRole::Search));
  const Ranking a = rank_blocks(left, 5), b = rank_blocks(right, 5);
  EXPECT_EQ(a.all, b.all);
  ASSERT_EQ(a.blocks.size(), b.blocks.size());
  for (std::size_t i = 0; i < a.blocks.size(); ++i)
    EXPECT_EQ(a.blocks[i].number, b.blocks[i].number);
}

}  // namespace
}  // namespace moebius
