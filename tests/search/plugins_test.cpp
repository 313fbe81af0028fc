#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "search/commands/options.h"
#include "search/samplers/drawer.h"
#include "study_support.h"

// A sampler and a stopper of a test's own: what a plug-in needs to say is in one place.
namespace moebius {
namespace {

using namespace testing_support;
using ::testing::HasSubstr;

// The cheapest of `among` new blocks.
class Frugal : public Sampler {
 public:
  explicit Frugal(std::int64_t among) : among_(among) {}
  Proposal propose(const SamplerView& view, Rng& rng) const override {
    Drawn best;
    for (std::int64_t i = 0; i < among_; ++i) {
      Drawn drawn = draw_new(view, [&](std::int64_t) {
        return Proposal{view.space.sample(rng), -1, Operator::Random};
      });
      EXPECT_EQ(view.why_refused(drawn.spec), "");
      EXPECT_FALSE(view.known(drawn.hash));
      const bool cheaper =
          !best.proposal || view.cost(drawn.spec).step_flops < view.cost(best.spec).step_flops;
      if (drawn.proposal && cheaper) best = drawn;
    }
    return *best.proposal;
  }

 private:
  const std::int64_t among_;
};

SamplerPlugin frugal() {
  return {.help = "the cheapest of several",
          .options = {{.name = "among",
                       .low = 1,
                       .high = 100,
                       .fallback = {std::int64_t{3}},
                       .help = "blocks drawn"}},
          .make = [](const Fields& options) {
            return std::make_unique<Frugal>(integer(options, "among"));
          }};
}

class Halfway : public Stopper {
 public:
  std::string why_pruned(const StopperView& view) const override {
    return 2 * view.point.step >= view.steps ? "half is enough" : "";
  }
};

StopperPlugin halfway() {
  return {.help = "ends everything",
          .make = [](const Fields&) { return std::make_unique<Halfway>(); }};
}

class PluginsTest : public StudyTest {
 protected:
  PluginsTest() {
    plugins.samplers.add("frugal", frugal());
    plugins.stoppers.add("halfway", halfway());
  }
  StudyPlugins plugins{types()};
};

TEST_F(PluginsTest, ASamplerGetsItsOptionAndTheyAreStored) {
  double flops[2] = {0, 0};
  for (const std::int64_t among : {1, 8}) {
    db = open_db("memory:", OpenMode::Create);
    StudyConfig config = study_config(space, 12);
    config.sampler = "frugal";
    config.sampler_options = {{"among", among}};
    Study study(config, plugins, *db);
    finish(study);
    for (const Trial& trial : study.history().trials())
      if (trial.role == TrialRole::Search)
        flops[among > 1] += cost(trial.spec, types(), config.recipe, 256).step_flops;
    EXPECT_EQ(db->find_study("first")->settings.options["sampler_options"],
              Json({{"among", among}}));
  }
  EXPECT_LT(flops[1], flops[0]);
}

TEST_F(PluginsTest, AnOptionLeftOutIsStoredToo) {
  StudyConfig config = study_config(space, 2);
  config.sampler = "frugal";
  Study study(config, plugins, *db);
  EXPECT_EQ(db->find_study("first")->settings.options["sampler_options"], Json({{"among", 3}}));
  EXPECT_THAT(option_help(plugins.samplers), HasSubstr("frugal: among=N (blocks drawn)"));
}

TEST_F(PluginsTest, AStopperEndsTrials) {
  StudyConfig config = study_config(space, 2);
  config.stopper = "halfway";
  Study study(config, plugins, *db);
  for (int i = 0; i < 2; ++i) {
    const Trial trial = *study.ask().trial;
    study.tell(trial, FakeEvaluator::done(study.candidate(trial)));
  }
  const Trial trial = *study.ask().trial;
  EXPECT_EQ(study.why_pruned(trial, {49, 1, 1, 1}, 0, 100), "");
  EXPECT_EQ(study.why_pruned(trial, {50, 1, 1, 1}, 49, 100), "half is enough");
  EXPECT_EQ(db->find_study("first")->settings.options["stopper"], "halfway");
}

}  // namespace
}  // namespace moebius
