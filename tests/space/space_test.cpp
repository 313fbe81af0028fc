#include "space/space.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <set>

#include "space/judge.h"
#include "space/scale.h"
#include "tests/support/test_types.h"

namespace moebius {
namespace {

using testing::error_of;
using testing::every_point;
using testing::point_of;
using testing::read_space;
using testing::small_space;
using testing::test_types;

TEST(SpaceSize, OfThePapersSpaceIsThePapers) {
  for (const std::string& preset : space_presets()) {
    const SpaceSize size = load_space(preset, test_types()).size();
    EXPECT_EQ(size.points, 30'233'088) << preset;
    EXPECT_EQ(size.distinct, 27'427'737) << preset;
  }
}

// Distinct specs by brute force.
void expect_enumerated_size(const Json& document) {
  const Space space = read_space(document);
  std::set<std::string> hashes;
  const std::vector<Point> points = every_point(space);
  for (const Point& point : points) hashes.insert(spec_hash(space.resolve(point)));
  EXPECT_EQ(space.size().points, static_cast<double>(points.size()));
  EXPECT_EQ(space.size().distinct, static_cast<double>(hashes.size()));
}

TEST(SpaceSize, IsThatOfAnEnumeration) {
  Json document = small_space();
  expect_enumerated_size(document);
  document["knobs"]["heads"]["per"] = "sublayer";  // acts only where attention stands
  expect_enumerated_size(document);
  document["knobs"]["activation"]["per"] = "sublayer";
  document["knobs"]["type"]["choices"] = {"attn", "ffn"};
  for (const char* name : {"d_moe"}) document["knobs"].erase(name);
  for (const char* name : {"experts", "gating", "capacity"}) document["fixed"].erase(name);
  expect_enumerated_size(document);
  document["knobs"]["type"]["per"] = "block";
  expect_enumerated_size(document);
  document["knobs"].erase("type");
  document["knobs"].erase("heads");
  document["fixed"] = {{"type", "ffn"}};
  expect_enumerated_size(document);
}

TEST(SpaceSize, OfHugeSpacesIsAPowerOfTwo) {  // B19
  Json document = small_space();
  document["block"]["sublayers"] = 40;
  Json many = Json::array();
  for (int i = 1; i <= 4096; ++i) many.push_back(i);
  document["knobs"]["d_ffn"] = {{"per", "sublayer"}, {"choices", many}};
  const SpaceSize size = read_space(document).size();
  EXPECT_NEAR(std::log2(size.points), 40 * (12 + std::log2(3)) + 4, 1e-6);
  EXPECT_LT(size.distinct, size.points);
  EXPECT_GT(size.distinct, 0);
}

TEST(Space, PointsAndSpecsMapOntoEachOther) {
  const Space space = read_space(small_space());
  for (const Point& point : every_point(space)) {
    const Spec spec = space.resolve(point);
    const std::optional<Point> found = space.locate(spec);
    ASSERT_TRUE(found);
    EXPECT_EQ(space.resolve(*found), spec);
  }
}

TEST(Space, LocatesOnlyItsOwn) {
  const Space space = load_space("brainformer-nano", test_types());
  const Spec first = baseline("brainformer-1-nano", test_types());
  ASSERT_TRUE(space.locate(first));
  EXPECT_EQ(space.resolve(*space.locate(first)), first);
  EXPECT_TRUE(space.locate(baseline("brainformer-2-nano", test_types())));
  EXPECT_FALSE(space.locate(baseline("glam-nano", test_types())));  // two activations
  EXPECT_FALSE(space.locate(baseline("brainformer-1-micro", test_types())));
  Spec deeper = baseline("brainformer-1-nano", test_types());
  deeper.stacks = 2;
  EXPECT_FALSE(space.locate(deeper));
}

TEST(Space, ThePapersBlocksAreInThePapersSpace) {
  const Space space = load_space("brainformer-100m-32e", test_types());
  EXPECT_TRUE(space.locate(baseline("brainformer-1-100m-32e", test_types())));
  EXPECT_TRUE(space.locate(baseline("brainformer-2-100m-32e", test_types())));
}

TEST(Space, SamplesEveryPointEquallyOften) {
  const Space space = read_space(small_space());
  const std::vector<Point> points = every_point(space);
  std::map<Point, int> count;
  Rng rng(1);
  const int draws = 50 * static_cast<int>(points.size());
  for (int i = 0; i < draws; ++i) ++count[space.sample(rng)];
  EXPECT_EQ(count.size(), points.size());
  double chi2 = 0;
  for (const auto& [point, n] : count) chi2 += (n - 50.0) * (n - 50.0) / 50;
  const double degrees = static_cast<double>(points.size()) - 1;
  EXPECT_NEAR(chi2, degrees, 4 * std::sqrt(2 * degrees));
}

TEST(Space, HashIgnoresTheRecipeAndNothingElse) {
  const Json document = small_space();
  Json other = document;
  other["recipe"]["batch"] = 4;
  EXPECT_EQ(read_space(document).hash(), read_space(other).hash());
  other["knobs"]["heads"]["choices"] = {2, 8};
  EXPECT_NE(read_space(document).hash(), read_space(other).hash());
}

TEST(Space, PresetsHaveFeasibleBlocksAndTheirBaselines) {
  for (const std::string& preset : space_presets()) {
    const Space space = load_space(preset, test_types());
    EXPECT_EQ(space.name(), preset);
    ASSERT_FALSE(space.baselines().empty());
    EXPECT_EQ(space.baselines().front(), "glam");
    const std::int64_t vocab = scale(space.scale()).vocab;
    for (const std::string& name : space.baselines())
      EXPECT_EQ(
          why_illegal(space_baseline(space, name, test_types()), test_types(), space.recipe()), "");
    const Cost gate =
        cost(space_baseline(space, "glam", test_types()), test_types(), space.recipe(), vocab);
    Rng rng(2);
    int feasible = 0;
    for (int i = 0; i < 200; ++i)
      feasible += Judge(space, test_types(), space.recipe(), vocab, gate)
                      .why_refused(space.resolve(space.sample(rng)))
                      .empty();
    EXPECT_GT(feasible, 20) << preset;
  }
}

TEST(Feasible, DemandsAttentionWhereTheSpaceHasIt) {
  const auto judge = [](const Space& space, const Point& point) {
    const Cost gate =
        cost(space_baseline(space, "glam", test_types()), test_types(), space.recipe(), 256);
    return Judge(space, test_types(), space.recipe(), 256, gate).why_refused(space.resolve(point));
  };
  Json document = small_space();
  document["constraints"] = Json::array();
  Space space = read_space(document);
  const Json all_ffn = {
      {"type", {"ffn", "ffn", "ffn"}}, {"d_model", 64}, {"d_moe", 48}, {"d_ffn", 96}, {"heads", 4},
      {"activation", "relu"}};
  EXPECT_EQ(judge(space, point_of(space, all_ffn)), "no sub-layer mixes tokens");
  document["knobs"]["type"]["choices"] = {"moe", "ffn"};
  document["knobs"].erase("heads");
  document["fixed"].erase("head_dim");
  space = read_space(document);
  Json without = all_ffn;
  without.erase("heads");
  EXPECT_EQ(judge(space, point_of(space, without)), "");
}

TEST(Feasible, NamesBothNumbersOfABrokenBound) {
  Json document = small_space();
  document["constraints"] = {
      {{"metric", "active_flops"}, {"min_over_baseline", 0.9}, {"max_over_baseline", 1.1}},
      {{"metric", "parameters"}, {"max_over_baseline", 0.25}}};
  const Space space = read_space(document);
  Cost gate;
  const Spec spec = space.resolve(Point(8, 0));
  const Cost own = cost(spec, test_types(), space.recipe(), 256);
  const auto judge = [&](double flops, double parameters) {
    gate.active_flops = own.active_flops * flops;
    gate.parameters = static_cast<std::int64_t>(static_cast<double>(own.parameters) * parameters);
    return Judge(space, test_types(), space.recipe(), 256, gate).why_refused(spec);
  };
  EXPECT_EQ(judge(1, 4.01), "");
  EXPECT_EQ(judge(2, 4.01), "active_flops 37.1k below 66.7k (0.9 x the baseline's 74.1k)");
  EXPECT_EQ(judge(0.5, 4.01), "active_flops 37.1k above 20.4k (1.1 x the baseline's 18.5k)");
  EXPECT_EQ(judge(1, 1), "parameters 20.7k above 5.18k (0.25 x the baseline's 20.7k)");
}

TEST(Feasible, ABlockBeyondCountingIsInfeasibleNotAnError) {  // B23
  const Space space = read_space(small_space());
  Spec spec = space.resolve(Point(8, 0));
  spec.d_model = 1 << 24;
  spec.stacks = 1 << 16;
  spec.sublayers[0].fields["heads"] = std::int64_t{4096};
  EXPECT_EQ(Judge(space, test_types(), space.recipe(), 256, Cost()).why_refused(spec),
            "block: needs more than 1e15 parameters; allowed: at most 1e15 parameters");
}

TEST(Judge, FindsChoicesThatNeverOccur) {
  Json document = small_space();
  document["knobs"]["d_model"]["choices"] = {64, 4096};
  document["constraints"] = {{{"metric", "active_flops"}, {"max_over_baseline", 20}}};
  const Space space = read_space(document);
  const Cost gate = cost(space.resolve(Point(8, 0)), test_types(), space.recipe(), 256);
  const Judge judge(space, test_types(), space.recipe(), 256, gate);
  const std::vector<Judge::Never> never = judge.never_occurring(200);
  ASSERT_EQ(never.size(), 1U);
  EXPECT_EQ(never[0].pointer, "/knobs/d_model/choices/1");
  EXPECT_EQ(never[0].value, "4096");
  EXPECT_THAT(never[0].why, ::testing::HasSubstr("active_flops"));
}

TEST(Diff, NamesEveryDifferingPointer) {
  const Json left = {{"a", {1, 2}}, {"b", {{"c", 1}, {"d/e", 2}}}, {"f", 2.0}};
  const Json right = {{"a", {1, 3, 4}}, {"b", {{"c", 1}, {"d/e", "x"}}}, {"f", 2}};
  EXPECT_EQ(diff(left, right), (std::vector<std::string>{"/a/1: 2 -> 3", "/a/2: (absent) -> 4",
                                                         "/b/d~1e: 2 -> \"x\""}));
  EXPECT_TRUE(diff(left, left).empty());
}

TEST(LoadSpace, NamesThePresets) {
  EXPECT_EQ(error_of([] { load_space("brainformer-nan", test_types()); }),
            "space: unknown space; did you mean 'brainformer-nano'?; allowed: "
            "brainformer-100m-32e, brainformer-100m-32e-v32k, brainformer-micro, brainformer-mini, "
            "brainformer-nano, or a .json file; got: brainformer-nan");
  EXPECT_EQ(error_of([] { load_space("./no.json", test_types()); }),
            "./no.json: cannot be read: No such file or directory");
}

}  // namespace
}  // namespace moebius
