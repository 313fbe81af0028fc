#include "space/recipe.h"

#include <gtest/gtest.h>

#include "tests/support/test_types.h"

namespace moebius {
namespace {

using testing::error_of;

Recipe read(const std::string& text) {
  const Json document = parse_json(text, "r.json");
  Problems problems("r.json");
  Recipe recipe = read_recipe(Reader(document, "/recipe", problems), testing::test_types());
  problems.raise();
  return recipe;
}

TEST(Recipe, ComesBackFromItsJson) {
  const Recipe recipe = read(
      R"({"batch":12,"seq":32,"micro_batch":4,"optimizer":"adafactor","update_scale":"parameter",
    "lr":{"dense":0.1,"token_choice":0.2,"expert_choice":0.3},"lr_width":48,"schedule":"s",
    "warmup":0.1,"decay":0.9,"weight_decay":0.5,"clip":0,"aux":0.02,"z":0.001,
    "eval_tokens":77,"precision":"fp32"})");
  EXPECT_EQ(recipe.tokens(), 384);
  EXPECT_EQ(recipe.lr.at("token_choice"), 0.2);
  EXPECT_EQ(read(to_json(recipe).dump()), recipe);
}

TEST(Recipe, OneRateIsTheRateOfEveryGroup) {
  const std::map<std::string, double> all = {
      {"dense", 0.01}, {"token_choice", 0.01}, {"expert_choice", 0.01}};
  EXPECT_EQ(read(R"({"lr":0.01})").lr, all);
  EXPECT_EQ(read(R"({"lr":{"dense":0.01}})").lr, all);  // a group that is left out
  EXPECT_EQ(read("{}"), default_recipe(testing::test_types()));
  for (const auto& [group, rate] : read("{}").lr) EXPECT_EQ(rate, Recipe().lr.at("dense")) << group;
  EXPECT_EQ(read("{}").lr.size(), 3u);
}

TEST(Recipe, AGroupWithoutARateTrainsAtTheDefaultOne) {
  Recipe recipe;
  recipe.lr = {{"dense", 0.1}, {"token_choice", 0.2}};
  EXPECT_EQ(recipe.rate("token_choice"), 0.2);
  EXPECT_EQ(recipe.rate("state_space"), 0.1);
  recipe.lr.erase("dense");
  EXPECT_EQ(error_of([&] { recipe.rate("state_space"); }),
            "recipe:/lr/state_space: no learning rate");
}

// Relative steps fall with the RMS of the parameter, 1 / sqrt(fan-in), once already.
TEST(Recipe, HiddenMatricesTrainAtARateByTheirFanIn) {
  Recipe recipe;
  recipe.lr_width = 64;
  EXPECT_EQ(recipe.hidden_rate(0.5, 64), 0.5);
  EXPECT_EQ(recipe.hidden_rate(0.5, 256), 0.125);
  recipe.update_scale = "parameter";
  EXPECT_EQ(recipe.hidden_rate(0.5, 64), 0.5);
  EXPECT_EQ(recipe.hidden_rate(0.5, 256), 0.25);
}

// A stored recipe may name groups that no type declares any more.
TEST(Recipe, ReadWithoutTypesKeepsItsGroups) {
  const Json document = {{"lr", {{"dense", 0.1}, {"gone", 0.4}}}};
  Problems problems("r.json");
  const Recipe recipe = read_recipe(Reader(document, "", problems));
  problems.raise();
  EXPECT_EQ(recipe.lr, (std::map<std::string, double>{{"dense", 0.1}, {"gone", 0.4}}));
}

// A new sub-layer type declares a group of its own; recipes from before are read with it.
TEST(Recipe, EveryDeclaredGroupMayHaveARate) {
  LayerTypes types("sub-layer type");
  LayerType recurrent;
  recurrent.rate_groups = {"state_space"};
  types.add("recurrent", recurrent);
  const Json document = {{"lr", {{"dense", 0.1}, {"state_space", 0.4}}}};
  Problems problems("r.json");
  const Recipe recipe = read_recipe(Reader(document, "", problems), types);
  problems.raise();
  EXPECT_EQ(recipe.rate("state_space"), 0.4);
}

TEST(Recipe, TheWholeBatchIsOneMicroBatchUnlessSaid) {
  EXPECT_EQ(read(R"({"batch":12})").micro_batch, 12);
}

TEST(Recipe, RefusesWhatCannotTrain) {  // B20, B25
  EXPECT_EQ(
      error_of([] { read(R"({"seq":0,"batch":-1,"lr":0,"clip":-1,"precision":"fp8"})"); }),
      "r.json:/recipe/batch: out of range; allowed: 1..65536; got: number -1\n"
      "r.json:/recipe/seq: out of range; allowed: 1..65536; got: number 0\n"
      "r.json:/recipe/lr: out of range; allowed: 1e-09..100; got: number 0\n"
      "r.json:/recipe/clip: out of range; allowed: 0..1000000; got: number -1\n"
      "r.json:/recipe/precision: unknown choice; allowed: auto, fp32, bf16; got: string \"fp8\"");
  EXPECT_EQ(error_of([] { read(R"({"lr":{"dense":1e30,"token_choice":0.1,"dens":1}})"); }),
            "r.json:/recipe/lr/dense: out of range; allowed: 1e-09..100; got: number 1e+30\n"
            "r.json:/recipe/lr/dens: unknown key; did you mean 'dense'?; allowed: dense, "
            "expert_choice, token_choice");
  EXPECT_EQ(error_of([] { read(R"({"batch":16,"micro_batch":5,"warmup":0.5,"decay":0.6})"); }),
            "r.json:/recipe/micro_batch: must divide batch; allowed: divisors of 16; got: 5\n"
            "r.json:/recipe/decay: warmup and decay are more than the whole budget; "
            "allowed: 0..0.5; got: 0.6");
  EXPECT_EQ(error_of([] { read(R"({"optimizer":"","bach":2})"); }),
            "r.json:/recipe/optimizer: must not be empty\n"
            "r.json:/recipe/bach: unknown key; did you mean 'batch'?; allowed: aux, batch, clip, "
            "decay, eval_tokens, lr, lr_width, micro_batch, optimizer, precision, schedule, seq, "
            "update_scale, warmup, weight_decay, z");
}

}  // namespace
}  // namespace moebius
