#include "search/study/config.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <fstream>

#include "search/study/forecast.h"
#include "search/study/stored.h"
#include "study_support.h"

// What a study is, as a database keeps it, and what a resume compares.
namespace moebius {
namespace {

using namespace testing_support;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

class ConfigTest : public StudyTest {
 protected:
  // A study with these settings, as another release may have made it.
  StudyConfig read(const StudySettings& settings) {
    db = open_db("memory:", OpenMode::Create);
    return stored_config(*db, db->open_study(settings, false), types());
  }
  StudyConfig unusual() const {
    StudyConfig config = study_config(space, 12);
    config.recipe.batch = config.recipe.micro_batch = 2;
    config.lag = 2;
    config.sampler = "random";
    config.evaluator = "command";
    config.command = "./train";
    config.timeout = 2.5;
    config.backend = "reference";
    config.precision = "fp32";
    config.vocab = 300;
    config.data = "my.txt";
    config.tokenizer = "t.model";
    config.data_hash = "abc";
    config.baselines = {{"mine", block(3)}};
    config.baseline_seeds = 3;
    config.seeds = {block(1), block(2)};
    config.stopper_options = {{"margin", 0.5}};
    config.constraints = "space";
    return config;
  }
};

TEST_F(ConfigTest, IsReadAsItWasStored) {
  const StudyConfig config = unusual();
  const StudySettings settings = settings_of(config, {{"version", "1"}});
  const StudyConfig again = read(settings);
  EXPECT_THAT(differences(config, again), IsEmpty());
  const StudySettings twice = settings_of(again, {{"version", "1"}});
  EXPECT_EQ(twice.options, settings.options);
  EXPECT_EQ(twice.provenance, settings.provenance);
  EXPECT_EQ(twice.recipe, settings.recipe);
  EXPECT_EQ(again.trials, 12);
  EXPECT_EQ(again.data, "my.txt");
}

TEST_F(ConfigTest, EveryFieldThatAFileLacksHasAValue) {
  const StudySettings whole = settings_of(unusual(), Json::object());
  for (const auto& [key, value] : whole.options.items()) {
    StudySettings older = whole;
    older.options.erase(key);
    EXPECT_NO_THROW(read(older)) << key;
  }
  StudySettings oldest = whole;
  oldest.options = {{"budget", "300ktok"}};
  const StudyConfig config = read(oldest);
  EXPECT_EQ(config.backend, "cpu");
  EXPECT_EQ(config.timeout, 0);
  EXPECT_EQ(config.constraints, "space");  // as the releases did that had no such key
  EXPECT_TRUE(config.sampler_options.empty());
  EXPECT_EQ(config.stopper, "quarter");
  oldest.options["gate_margin"] = 0.25;
  EXPECT_EQ(number(read(oldest).stopper_options, "margin"), 0.25);
}

TEST_F(ConfigTest, AKeyOfANewerReleaseIsNamedAsSuch) {
  StudySettings newer = settings_of(unusual(), {{"version", "9.1"}});
  newer.options["rungs"] = 3;
  std::string line;
  EXPECT_EQ(error_code([&] { read(newer); }, &line), Exit::BadInput);
  EXPECT_THAT(line, HasSubstr("study first:/options/rungs: "));
  EXPECT_THAT(line, HasSubstr("release 9.1 made this study"));
}

TEST_F(ConfigTest, AResumeNamesEveryDifferenceByItsOption) {
  make(study_config(space, 5));
  StudyConfig other = study_config(space, 9);  // more trials are no difference
  other.budget = parse_budget("200steps");
  other.seed = 8;
  other.recipe.warmup = 0.1;
  other.recipe.micro_batch = 4;
  other.baselines.pop_back();
  Json document = small_space_document();
  document["knobs"]["d_model"]["choices"] = {32, 64};
  other.space = read_space(document);
  std::string lines;
  EXPECT_EQ(error_code([&] { make(other); }, &lines), Exit::BadInput);
  EXPECT_THAT(lines, HasSubstr("--space: study first was made with another: "
                               "/knobs/d_model/choices/1: 48 -> 64\n"));
  EXPECT_THAT(lines, HasSubstr("--budget: study first was made with another; "
                               "allowed: 100steps; got: 200steps\n"));
  for (const char* option : {"--seed", "--warmup", "--micro-batch", "--baseline"})
    EXPECT_THAT(lines, HasSubstr(std::string(option) + ": study first was made with another"));
  EXPECT_EQ(std::count(lines.begin(), lines.end(), '\n'), 5);
}

// Their trials would be compared with others than those they were made with.
TEST_F(ConfigTest, AStudyOfOtherRulesIsReadAndNeverContinued) {
  for (const Json& rules : {Json(), Json(1), Json(kRules + 1)}) {
    db = open_db("memory:", OpenMode::Create);
    StudySettings settings = settings_of(study_config(space, 5), Json::object());
    EXPECT_EQ(rules_of(settings), kRules);
    EXPECT_EQ(rules_note(settings), "");
    settings.options["rules"] = rules;
    if (rules.is_null()) settings.options.erase("rules");
    const StudyRow row = db->open_study(settings, false);
    const StudyConfig stored = stored_config(*db, row, types());
    const std::int64_t expected = rules.is_null() ? 1 : rules.get<std::int64_t>();
    EXPECT_EQ(stored.rules, expected);
    EXPECT_THAT(rules_note(settings), HasSubstr(fmt::format("under rules {},", expected)));
    for (const StudyConfig& config : {stored, study_config(space, 5)}) {
      std::string line;
      EXPECT_EQ(error_code([&] { make(config); }, &line), Exit::BadInput);
      EXPECT_THAT(line, HasSubstr("--study: first was made under rules"));
      EXPECT_THAT(line, ::testing::Not(HasSubstr("\n")));
    }
    EXPECT_EQ(db->history(row.id).size(), 0);
  }
}

// A file that a space names as its baseline is read when the study is made, and never again.
TEST_F(ConfigTest, TheBaselineIsTheOneTheStudyWasMadeWith) {
  const Folder folder;
  const std::string file = folder.file("base.json");
  std::ofstream(file) << to_json(block(3)).dump();
  Json document = small_space_document();
  document["baseline"] = {file};
  space = read_space(document);
  make(study_config(space, 5));
  std::ofstream(file) << to_json(block(4)).dump();
  const StudyConfig changed = stored_config(*db, *db->find_study("first"), types());
  EXPECT_THAT(changed.baselines, ElementsAre(Baseline{"base", block(3)}));
  std::remove(file.c_str());
  Study study = make(stored_config(*db, *db->find_study("first"), types()));
  finish(study);
  EXPECT_EQ(study.history().find(0)->spec, block(3));
}

// Older releases stored no baselines: what they trained is what there is.
TEST_F(ConfigTest, BaselinesOfOlderStudiesAreThoseThatWereTrained) {
  StudyConfig config = study_config(space, 5);
  config.baselines = {{"base", block(3)}};
  StudySettings settings = settings_of(config, Json::object());
  settings.options["baselines"] = nullptr;
  const StudyRow row = db->open_study(settings, false);
  EXPECT_EQ(stored_config(*db, row, types()).baselines, space_baselines(space, types()));
  Trial trial;
  trial.role = TrialRole::Baseline;
  trial.label = "base";
  trial.spec = block(3);
  trial.spec_hash = spec_hash(trial.spec);
  std::vector<Trial> trials = {trial};
  db->propose(row.id, trials, 0);
  EXPECT_THAT(stored_config(*db, row, types()).baselines, ElementsAre(Baseline{"base", block(3)}));
}

TEST_F(ConfigTest, ConstraintsAreJudgedUnderTheStudysRecipe) {
  Json document = small_space_document();
  document["constraints"] = {
      {{"metric", "active_flops"}, {"min_over_baseline", 0.8}, {"max_over_baseline", 1.1}}};
  document["knobs"]["d_ffn"]["choices"] = {32, 64, 96, 128, 192, 256};
  space = read_space(document);
  int outside[2] = {0, 0};
  for (const bool of_study : {false, true}) {
    db = open_db("memory:", OpenMode::Create);
    StudyConfig config = study_config(space, 60);
    config.recipe.batch = config.recipe.micro_batch = 2;
    config.recipe.seq = 1024;  // attention counts
    config.sampler = "random";
    config.constraints = of_study ? "study" : "space";
    Study study = make(config);
    finish(study);
    const TokenShape shape{2, 1024, 0};
    const double base = active_flops(config.baselines.front().spec, types(), shape);
    for (const Trial& trial : study.history().trials()) {
      if (trial.role != TrialRole::Search) continue;
      const double ratio = active_flops(trial.spec, types(), shape) / base;
      outside[of_study] += ratio < 0.8 || ratio > 1.1;
    }
  }
  EXPECT_EQ(outside[1], 0);
  EXPECT_GT(outside[0], 0);  // what older studies go on with
}

// 2 baselines and 10 blocks, and 7 fresh seeds for the verdict.
TEST_F(ConfigTest, TheForecastTrainsNothing) {
  const StudyConfig config = study_config(space, 10);
  ForecastInput input{2, 1 << 20, {}};
  EXPECT_EQ(forecast(config, History(), types(), input),
            "19 trials x 100steps with 2 workers, about 1 MiB each");
  input.step_seconds = 0.1;
  EXPECT_EQ(forecast(config, History(), types(), input),
            "19 trials x 100steps = about 1m35s with 2 workers, about 1 MiB each");
}

}  // namespace
}  // namespace moebius
