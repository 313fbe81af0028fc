#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <limits>

#include "search/results/statistics.h"
#include "search_support.h"
#include "space/scale.h"

// Every database of dbs.def keeps the contract of ResultsDb.
namespace moebius {
namespace {

using namespace testing_support;
using ::testing::HasSubstr;

constexpr double kNan = std::numeric_limits<double>::quiet_NaN();
constexpr double kInfinity = std::numeric_limits<double>::infinity();

class DbContract : public ::testing::TestWithParam<std::string> {
 protected:
  DbContract()
      : db(open_db(GetParam() == "memory" ? "memory:" : folder.file("r.db"), OpenMode::Create)) {}

  StudySettings settings(const std::string& name = "first") const {
    return study_settings(space, 10, name);
  }
  std::int64_t open(const std::string& name = "first") {
    return db->open_study(settings(name), true).id;
  }
  Trial trial(std::int64_t number, std::uint64_t draw = 0) const {
    Trial result;
    result.number = number;
    result.role = TrialRole::Search;
    Rng rng(draw * 1000 + static_cast<std::uint64_t>(number));
    result.point = space.sample(rng);
    result.spec = space.resolve(result.point);
    result.spec_hash = spec_hash(result.spec);
    result.op = Operator::Random;
    result.seed = 7;
    return result;
  }
  // One waiting trial of a new study.
  TrialKey one_trial() {
    study = open();
    std::vector<Trial> trials{trial(0)};
    db->propose(study, trials, 0);
    return {study, 0};
  }
  TrialKey key(std::size_t number) const { return {study, static_cast<std::int64_t>(number)}; }
  static Outcome done(double loss) {
    Outcome outcome;
    outcome.ending = Ending::Done;
    outcome.measurement.loss = loss;
    return outcome;
  }
  Trial stored(std::int64_t number = 0) { return *db->history(study).find(number); }

  Folder folder;
  Space space = small_space();
  std::unique_ptr<ResultsDb> db;
  std::int64_t study = 0;
};

TEST_P(DbContract, AStudyIsFoundWithItsSettings) {
  StudySettings given = settings();
  given.seed = 0x8000000000000001ULL;  // all 64 bits
  given.provenance = {{"version", "1"}};
  const std::int64_t id = db->open_study(given, true).id;
  const std::optional<StudyRow> found = db->find_study("first");
  ASSERT_TRUE(found);
  EXPECT_EQ(found->id, id);
  EXPECT_EQ(found->settings.space, given.space);
  EXPECT_EQ(found->settings.seed, given.seed);
  EXPECT_EQ(found->settings.provenance, given.provenance);
  EXPECT_EQ(db->open_study(given, true).id, id);
  EXPECT_NE(open("second"), id);
  EXPECT_EQ(db->studies().size(), 2U);
  EXPECT_FALSE(db->find_study("third"));
}

TEST_P(DbContract, OtherSettingsAreRefusedNamingTheFirstPointer) {
  open();
  StudySettings other = settings();
  other.recipe["lr"]["dense"] = 0.5;
  std::string line;
  EXPECT_EQ(error_code([&] { db->open_study(other, true); }, &line), Exit::BadInput);
  EXPECT_THAT(line, HasSubstr("/recipe/lr/dense"));
  other = settings();
  other.provenance = {{"version", "another"}};
  EXPECT_EQ(error_code([&] { db->open_study(other, true); }), Exit::Done);  // not compared
}

TEST_P(DbContract, HostileStudyNamesAreRefused) {
  for (const std::string name : {"", "../x", "a/b", "x'; DROP TABLE trial;--", "-x"})
    EXPECT_EQ(error_code([&] { open(name); }), Exit::BadInput) << name;
}

TEST_P(DbContract, ATrialComesBackAsItWasProposed) {
  study = open();
  std::vector<Trial> trials{trial(0), trial(1)};
  trials[0].role = TrialRole::Baseline;
  trials[0].label = "glam-nano";
  trials[0].point.clear();
  trials[0].spec = baseline("glam-nano", types());  // has fractional fields
  trials[0].spec_hash = spec_hash(trials[0].spec);
  trials[1].parent = 0;
  trials[1].seed = std::numeric_limits<std::uint64_t>::max();
  db->propose(study, trials, 5);
  EXPECT_EQ(db->find_study("first")->redrawn, 5);
  for (const Trial& given : trials) {
    const Trial back = stored(given.number);
    EXPECT_EQ(back.role, given.role);
    EXPECT_EQ(back.label, given.label);
    EXPECT_EQ(back.point, given.point);
    EXPECT_EQ(back.spec, given.spec);
    EXPECT_EQ(spec_hash(back.spec), given.spec_hash);
    EXPECT_EQ(back.parent, given.parent);
    EXPECT_EQ(back.op, given.op);
    EXPECT_EQ(back.seed, given.seed);
    EXPECT_EQ(back.state, TrialState::Waiting);
    EXPECT_FALSE(back.outcome);
  }
}

TEST_P(DbContract, ATrialMayBeProposedAsClaimed) {
  study = open();
  std::vector<Trial> trials{trial(0), trial(1)};
  trials[1].state = TrialState::Running;
  trials[1].attempt = 1;
  trials[1].owner = "me";
  db->propose(study, trials, 0);
  db->propose(study, trials, 0);
  EXPECT_EQ(stored(0).state, TrialState::Waiting);
  EXPECT_EQ(stored(1).state, TrialState::Running);
  EXPECT_EQ(stored(1).owner, "me");
  EXPECT_EQ(db->claim({study, 1}, "me"), 1);
  db->release({study, 1}, 1, false);
  EXPECT_EQ(db->claim({study, 1}, "you"), 2);
}

TEST_P(DbContract, NumbersAreContiguousAndAllOrNone) {
  study = open();
  std::vector<Trial> gap{trial(0), trial(2)};
  EXPECT_EQ(error_code([&] { db->propose(study, gap, 3); }), Exit::Storage);
  EXPECT_TRUE(db->history(study).trials().empty());
  EXPECT_EQ(db->find_study("first")->redrawn, 0);
}

TEST_P(DbContract, ProposingTheSameAgainChangesNothing) {
  study = open();
  std::vector<Trial> once{trial(0), trial(1)}, again = once;
  db->propose(study, once, 3);
  db->propose(study, again, 3);
  EXPECT_EQ(db->history(study).trials().size(), 2U);
  EXPECT_EQ(db->find_study("first")->redrawn, 3);
  std::vector<Trial> other{trial(0, 5)};
  EXPECT_EQ(error_code([&] { db->propose(study, other, 0); }), Exit::Storage);
}

TEST_P(DbContract, AttemptsCountClaimsButNotGracefulStops) {
  const TrialKey id = one_trial();
  EXPECT_EQ(db->claim(id, "a:1"), 1);
  EXPECT_EQ(db->claim(id, "a:1"), 1);  // its own already
  EXPECT_EQ(error_code([&] { db->claim(id, "b:2"); }), Exit::NotOwner);
  db->release(id, 1, true);
  EXPECT_EQ(stored().state, TrialState::Waiting);
  EXPECT_EQ(db->claim(id, "b:2"), 1);
  db->release(id, 1, false);
  EXPECT_EQ(db->claim(id, "a:1"), 2);
  EXPECT_EQ(stored().state, TrialState::Running);
  EXPECT_EQ(stored().attempt, 2);
  EXPECT_EQ(stored().owner, "a:1");
}

TEST_P(DbContract, AStaleAttemptChangesNothing) {
  const TrialKey id = one_trial();
  db->claim(id, "a:1");
  db->release(id, 1, false);  // A is taken for dead ..
  db->claim(id, "b:2");
  EXPECT_FALSE(db->finish(id, 1, done(1.0)));  // .. and comes back
  db->release(id, 1, true);
  db->curve(id, 1, {{1, 1, 1, 1}});
  EXPECT_EQ(stored().state, TrialState::Running);
  EXPECT_TRUE(db->finish(id, 2, done(2.0)));
  EXPECT_FALSE(db->finish(id, 1, done(1.0)));
  EXPECT_EQ(stored().loss(), 2.0);
  EXPECT_TRUE(db->read_curve(id).empty());
}

TEST_P(DbContract, AFinishIsAcceptedOnceAndMayBeRepeated) {
  const TrialKey id = one_trial();
  EXPECT_FALSE(db->finish(id, 0, done(1.5)));  // never claimed
  db->claim(id, "a:1");
  EXPECT_TRUE(db->finish(id, 1, done(1.5)));
  EXPECT_TRUE(db->finish(id, 1, done(1.5)));
  EXPECT_FALSE(db->finish(id, 1, done(1.25)));
  EXPECT_EQ(stored().loss(), 1.5);
  EXPECT_EQ(error_code([&] { db->claim(id, "a:1"); }), Exit::NotOwner);
}

TEST_P(DbContract, AResultComesBackToTheLastBit) {
  const TrialKey id = one_trial();
  db->claim(id, "a:1");
  Outcome given = done(0.1 + 0.2);
  given.message = "says 'so'; \xff";
  Measurement& m = given.measurement;
  m.native_loss = 1e-300;
  m.stopped_step = 3;
  m.causal = "drops";
  m.steps = 1LL << 40;
  m.flops = 1.0 / 3;
  m.result_hash = "abc";
  given.curve = {{1, 5.5, kNan, 0.25}, {2, 4.5, 4.75, 0.5}};
  ASSERT_TRUE(db->finish(id, 1, given));
  const Outcome back = *stored().outcome;
  EXPECT_EQ(back.ending, Ending::Done);
  EXPECT_THAT(back.message, HasSubstr("says 'so'; "));
  EXPECT_EQ(back.measurement.loss, m.loss);
  EXPECT_EQ(back.measurement.native_loss, m.native_loss);
  EXPECT_EQ(back.measurement.stopped_step, 3);
  EXPECT_EQ(back.measurement.causal, "drops");
  EXPECT_EQ(back.measurement.split, "validation");
  EXPECT_EQ(back.measurement.steps, m.steps);
  EXPECT_EQ(back.measurement.flops, m.flops);
  EXPECT_EQ(back.measurement.result_hash, "abc");
  EXPECT_TRUE(std::isnan(back.measurement.step_seconds));
  EXPECT_TRUE(back.curve.empty()) << "read when it is asked for";
  const std::vector<CurvePoint> curve = db->read_curve(id);
  ASSERT_EQ(curve.size(), 2U);
  EXPECT_EQ(curve[0].train_loss, 5.5);
  EXPECT_TRUE(std::isnan(curve[0].valid_loss));
  EXPECT_EQ(curve[1].valid_loss, 4.75);
}

TEST_P(DbContract, ALossThatIsNoNumberIsDivergence) {
  study = open();
  std::vector<Trial> trials{trial(0), trial(1), trial(2)};
  db->propose(study, trials, 0);
  const double losses[] = {kNan, kInfinity, -kInfinity};
  for (std::size_t i = 0; i < 3; ++i) {
    db->claim(key(i), "a:1");
    Outcome outcome = done(losses[i]);
    outcome.measurement.native_loss = kInfinity;
    EXPECT_TRUE(db->finish(key(i), 1, outcome));
    const Trial back = stored(static_cast<std::int64_t>(i));
    EXPECT_EQ(back.state, TrialState::Diverged);
    EXPECT_TRUE(std::isnan(back.loss()));
    EXPECT_TRUE(std::isnan(back.outcome->measurement.native_loss));
  }
}

TEST_P(DbContract, OnlyDoneTrialsHaveALoss) {
  study = open();
  std::vector<Trial> trials;
  const Ending endings[] = {Ending::Pruned, Ending::Infeasible, Ending::OutOfMemory,
                            Ending::Failed};
  for (std::int64_t i = 0; i < 4; ++i) trials.push_back(trial(i));
  db->propose(study, trials, 0);
  for (std::size_t i = 0; i < 4; ++i) {
    db->claim(key(i), "a:1");
    Outcome outcome = done(1);
    outcome.ending = endings[i];
    outcome.measurement.stopped_loss = 3;
    db->finish(key(i), 1, outcome);
    const Trial back = stored(static_cast<std::int64_t>(i));
    EXPECT_EQ(back.state, final_state(endings[i]));
    EXPECT_TRUE(std::isnan(back.outcome->measurement.loss));
    EXPECT_EQ(back.outcome->measurement.stopped_loss, 3);
  }
}

TEST_P(DbContract, TenLostAttemptsMakeATrialFailed) {
  const TrialKey id = one_trial();
  for (int i = 1; i <= kMaxLost; ++i) {
    ASSERT_EQ(stored().state, TrialState::Waiting);
    const std::int64_t attempt = db->claim(id, "a:1");
    EXPECT_EQ(attempt, i);
    db->release(id, attempt, false);
  }
  EXPECT_EQ(stored().state, TrialState::Failed);
  EXPECT_THAT(stored().outcome->message, HasSubstr("10 attempts"));
}

// A trainer that knows no checkpoints starts from step 0 under the same attempt.
TEST_P(DbContract, ARestartedAttemptLeavesNoOldPoints) {
  const TrialKey id = one_trial();
  db->claim(id, "a:1");
  db->curve(id, 1, {{1, 5, 5, 1}, {3, 4, 4, 1}, {8, 3, 3, 1}});
  EXPECT_EQ(db->read_curve(id).size(), 3U) << "of an attempt that runs";
  db->release(id, 1, true);
  EXPECT_EQ(db->claim(id, "a:2"), 1);
  db->curve(id, 1, {{2, 9, 9, 1}});
  db->release(id, 1, true);
  EXPECT_EQ(db->claim(id, "a:3"), 1);
  Outcome outcome = done(2);
  outcome.curve = {{3, 7, 7, 1}, {4, 6, 6, 1}};
  db->finish(id, 1, outcome);
  const std::vector<CurvePoint> curve = db->read_curve(id);
  ASSERT_EQ(curve.size(), 2U);
  EXPECT_EQ(curve[0].step, 3);
  EXPECT_EQ(curve[0].train_loss, 7);
  EXPECT_EQ(curve[1].step, 4);
}

TEST_P(DbContract, ANoteIsSetOnce) {
  study = open();
  EXPECT_TRUE(db->remember(study, "k", Json()).is_null());
  EXPECT_EQ(db->remember(study, "k", 0.1), Json(0.1));
  EXPECT_EQ(db->remember(study, "k", 7), Json(0.1));
  EXPECT_EQ(db->remember(study, "k", Json()), Json(0.1));
  EXPECT_TRUE(db->remember(open("second"), "k", Json()).is_null());
}

TEST_P(DbContract, ArtifactsAreListedUntilTheyAreGone) {
  const TrialKey id = one_trial();
  db->artifact(id, "weights", "a", "h1");
  db->artifact(id, "weights", "b", "h2");
  ASSERT_EQ(db->artifacts(study).size(), 1U);
  EXPECT_EQ(db->artifacts(study)[0].path, "b");
  EXPECT_EQ(db->artifacts(study)[0].number, 0);
  db->artifact_gone(id, "weights");
  EXPECT_TRUE(db->artifacts(study).empty());
  db->artifact(id, "weights", "c", "h3");
  EXPECT_EQ(db->artifacts(study).size(), 1U);
  EXPECT_TRUE(db->artifacts(open("second")).empty());
}

INSTANTIATE_TEST_SUITE_P(All, DbContract, ::testing::ValuesIn(dbs().names()),
                         [](const auto& named) { return named.param; });

TEST(OpenDb, UnderstandsUrls) {
  const Folder folder;
  for (const std::string& url :
       {"sqlite:///" + folder.file("a.db"), "sqlite:" + folder.file("b.db"), folder.file("c.db")}) {
    const auto db = open_db(url, OpenMode::Create);
    db->open_study(study_settings(small_space(), 1), false);
  }
  EXPECT_THAT(folder.list(), ::testing::IsSupersetOf({"a.db", "b.db", "c.db"}));
  for (const std::string url : {"", "postgresql://host/x", "sqlite://host/x.db", "sqlite:///"})
    EXPECT_EQ(error_code([&] { open_db(url, OpenMode::Create); }), Exit::BadInput) << url;
}

}  // namespace
}  // namespace moebius
