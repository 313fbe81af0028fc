#include "search/study/proposal.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <set>

#include "space/scale.h"
#include "study_support.h"

// What a study proposes: new, feasible blocks, or the end of the space.
namespace moebius {
namespace {

using namespace testing_support;
using ::testing::HasSubstr;

class ProposalTest : public StudyTest {};

TEST_F(ProposalTest, SearchTrialsAreDistinct) {
  Study study = make(study_config(space, 60));
  finish(study);
  std::set<std::string> hashes;
  for (const Trial& trial : study.history().trials()) hashes.insert(trial.spec_hash);
  EXPECT_EQ(hashes.size(), study.history().trials().size());
}

TEST_F(ProposalTest, ASpaceMayBeExhausted) {
  Json document = small_space_document();
  document["block"]["sublayers"] = 2;
  document["knobs"]["d_ffn"]["choices"] = {64, 96};
  space = read_space(document);
  std::set<std::string> feasible;  // every block with attention
  Rng rng(1);
  for (int i = 0; i < 500; ++i) {
    const Spec spec = space.resolve(space.sample(rng));
    if (std::any_of(spec.sublayers.begin(), spec.sublayers.end(),
                    [](const SubLayer& layer) { return layer.type == "attn"; }))
      feasible.insert(spec_hash(spec));
  }
  Study study = make(study_config(space, 100));
  finish(study);
  EXPECT_TRUE(study.complete());
  EXPECT_EQ(study.history().count(TrialRole::Search), static_cast<std::int64_t>(feasible.size()));
  EXPECT_GT(db->find_study("first")->redrawn, 0);
}

TEST_F(ProposalTest, ConstraintsThatNothingSatisfiesAreBadInput) {
  Json document = small_space_document();
  document["constraints"] = {{{"metric", "parameters"}, {"max_over_baseline", 0.01}}};
  space = read_space(document);
  std::string line;
  EXPECT_EQ(error_code([&] { make(study_config(space, 5)); }, &line), Exit::BadInput);
  EXPECT_THAT(line, HasSubstr("0 of 100000 samples satisfy"));
  EXPECT_TRUE(db->studies().empty());  // before anything is written or trained
}

TEST_F(ProposalTest, ABaselineThatBreaksAConstraintIsNoParent) {
  for (const double ratio : {0.9, 1.3}) {
    db = open_db("memory:", OpenMode::Create);
    Json document = small_space_document();
    document["constraints"] = {{{"metric", "step_time"},
                                {"profile", "cpu-local"},
                                {"scale", "proxy"},
                                {"max_over_baseline", 1.0}}};
    space = read_space(document);
    StudyConfig config = study_config(space, 30);
    config.budget = parse_budget("20s");
    config.baselines = {{"gate", baseline("dense-nano", types())},
                        {"mine", block(3)}};  // in the space, and the best of all
    evaluator.outcome = [&](const Candidate& candidate) {
      Outcome outcome = FakeEvaluator::done(candidate);
      if (candidate.trial == 1) {
        outcome.measurement.loss = 1;
        outcome.measurement.step_ratio = ratio;
      }
      return outcome;
    };
    Study study = make(config);
    finish(study);
    int children = 0;
    for (const Trial& trial : study.history().trials()) children += trial.parent == 1;
    EXPECT_EQ(children > 0, ratio < 1) << ratio;
  }
}

}  // namespace
}  // namespace moebius
