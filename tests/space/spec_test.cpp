#include "space/spec.h"

#include <gtest/gtest.h>

#include <set>

#include "space/cost.h"
#include "space/scale.h"
#include "tests/support/test_types.h"

namespace moebius {
namespace {

using testing::error_of;
using testing::test_types;

std::vector<std::string> every_baseline() {
  std::vector<std::string> names = fixed_blocks();
  for (const Scale& row : scales())
    for (const std::string& block : baseline_blocks()) names.push_back(block + "-" + row.name);
  return names;
}

Spec read(const std::string& text) {
  return read_spec(parse_json(text, "b.json"), "b.json", test_types());
}

std::string block(const std::string& sublayers) {
  return R"({"format":"moebius.block/1","d_model":8,"stacks":1,"sublayers":[)" + sublayers + "]}";
}

TEST(Spec, EveryBaselineComesBackFromItsJson) {
  for (const std::string& name : every_baseline()) {
    const Spec spec = baseline(name, test_types());
    EXPECT_EQ(read_spec(to_json(spec), name, test_types()), spec) << name;
    EXPECT_EQ(read_spec(parse_json(canonical(to_json(spec)), name), name, test_types()), spec);
  }
}

TEST(Spec, HashesAreEqualExactlyForEqualSpecs) {
  std::set<std::string> hashes, texts;
  for (const std::string& name : every_baseline()) {
    const Spec spec = baseline(name, test_types());
    hashes.insert(spec_hash(spec));
    texts.insert(canonical(to_json(spec)));
    Spec changed = spec;
    ++changed.d_model;
    EXPECT_NE(spec_hash(changed), spec_hash(spec));
  }
  EXPECT_EQ(hashes.size(), texts.size());
}

TEST(Spec, HashesAreTheSameForEver) {
  EXPECT_EQ(spec_hash(baseline("glam-nano", test_types())), "c47afb23327dd05e4f2fa692be68d639");
  EXPECT_EQ(spec_hash(baseline("gpt-micro", test_types())), "8b6a7b0a64d54feea0563849fb1b8dc3");
  EXPECT_EQ(spec_hash(baseline("brainformer-1-100m-32e", test_types())),
            "05c7d03518fef4c438da63cc440e0f55");
}

TEST(Spec, EqualNumbersAreEqualHoweverWritten) {
  const std::string moe = R"({"type":"moe","d_moe":8,"experts":4,"gating":"top2",
    "activation":"relu","capacity":)";
  EXPECT_EQ(spec_hash(read(block(moe + "2}"))), spec_hash(read(block(moe + "2.0}"))));
  EXPECT_EQ(read(block(moe + "2}")), read(block(moe + "2.0}")));
  EXPECT_NE(read(block(moe + "2}")), read(block(moe + "\"none\"}")));
}

TEST(Spec, DefaultsMayBeLeftOut) {
  const Spec spec = read(block(R"({"type":"attn","heads":2,"head_dim":4})"));
  EXPECT_EQ(text(spec.sublayers[0].fields, "position"), "relative_bias");
  EXPECT_EQ(integer(spec.sublayers[0].fields, "qkv_conv"), 0);
}

TEST(Spec, PassesOverWhatExportersAdd) {
  Json document = to_json(baseline("glam-nano", test_types()));
  const Spec spec = read_spec(document, "b.json", test_types());
  document["name"] = "t7";
  document["recipe"] = Json::object({{"batch", 1}});
  document["provenance"] = Json::object({{"study", "first"}});
  EXPECT_EQ(read_spec(document, "b.json", test_types()), spec);
  document["comment"] = "x";
  EXPECT_EQ(error_of([&] { read_spec(document, "b.json", test_types()); }),
            "b.json:/comment: unknown key; allowed: d_model, format, name, provenance, recipe, "
            "stacks, sublayers");
}

TEST(Spec, ReportsEveryIndependentProblem) {
  const std::string text = R"({"format":"moebius.block/2","d_model":0,"sublayers":[
    {"type":"atn","heads":1},
    {"type":"attn","heads":0,"head_dim":"8","position":"ropes"},
    {"type":"ffn","activation":"relu","d_fn":4},
    {"type":"moe","d_moe":1,"experts":5000,"gating":"top2","activation":"relu","capacity":"nune"},
    {"type":"moe","d_moe":1,"experts":5,"gating":"top2","activation":"relu","capacity":65,
     "group":""}]})";
  EXPECT_EQ(
      error_of([&] { read(text); }),
      "b.json:/format: unknown format; allowed: moebius.block/1; got: string \"moebius.block/2\"\n"
      "b.json:/d_model: out of range; allowed: 1..16777216; got: number 0\n"
      "b.json: missing key \"stacks\"\n"
      "b.json:/sublayers/0/type: unknown choice; did you mean 'attn'?; allowed: attn, moe, ffn; "
      "got: string \"atn\"\n"
      "b.json:/sublayers/1/heads: out of range; allowed: 1..4096; got: number 0\n"
      "b.json:/sublayers/1/head_dim: must be an integer; allowed: 1..1024; got: string \"8\"\n"
      "b.json:/sublayers/1/position: unknown choice; did you mean 'rope'?; allowed: "
      "relative_bias, rope, learned, none; got: string \"ropes\"\n"
      "b.json:/sublayers/2: missing key \"d_ffn\"\n"
      "b.json:/sublayers/2/d_fn: unknown key; did you mean 'd_ffn'?; allowed: activation, d_ffn, "
      "type\n"
      "b.json:/sublayers/3/experts: out of range; allowed: 1..4096; got: number 5000\n"
      "b.json:/sublayers/3/capacity: must be a number or a word; allowed: 0..64, none; "
      "got: string \"nune\"\n"
      "b.json:/sublayers/4/capacity: out of range; allowed: 0..64; got: number 65\n"
      "b.json:/sublayers/4/group: wrong length; allowed: 1..64 bytes; got: string \"\"");
}

TEST(Spec, RefusesNoLayersAndTooMany) {  // B20, B23
  EXPECT_EQ(error_of([&] { read(block("")); }),
            "b.json:/sublayers: wrong length; allowed: 1..1024 sub-layers; got: 0");
  Json document = to_json(baseline("glam-nano", test_types()));
  document["stacks"] = 65536;
  EXPECT_EQ(error_of([&] { read_spec(document, "b.json", test_types()); }),
            "b.json:/stacks: too many sub-layers in the model; allowed: 1..65536; got: 262144");
  document["stacks"] = 1 << 20;
  EXPECT_EQ(error_of([&] { read_spec(document, "b.json", test_types()); }),
            "b.json:/stacks: out of range; allowed: 1..65536; got: number 1048576");
}

TEST(Spec, NamesTheSubLayerThatCannotBeBuilt) {
  Spec spec = baseline("glam-nano", test_types());
  const TokenShape shape{.batch = 2, .seq = 64};
  EXPECT_EQ(why_illegal(spec, test_types(), shape), "");
  EXPECT_EQ(why_illegal(spec, test_types(), TokenShape{.batch = 2, .seq = 63}),
            "/sublayers/1/capacity: 15.75 slots an expert in a group of 63");
}

TEST(Spec, GroupsOfSeveralSequencesForbidMicroBatching) {
  Recipe recipe{.batch = 16, .seq = 64, .micro_batch = 8};
  Spec spec = baseline("glam-nano", test_types());
  EXPECT_EQ(why_illegal(spec, test_types(), recipe), "");
  for (const std::string group : {"position", "batch"}) {
    spec.sublayers[1].fields["group"] = group;
    recipe.micro_batch = 8;
    EXPECT_EQ(why_illegal(spec, test_types(), recipe),
              "/sublayers/1/group: " + group +
                  " needs the whole batch at once; allowed: micro_batch 16; got: 8");
    recipe.micro_batch = 16;
    EXPECT_EQ(why_illegal(spec, test_types(), recipe), "");
  }
}

TEST(Spec, IsDrawnCountedAndClassified) {
  const auto family_of = [](const char* name) {
    return rate_group(baseline(name, test_types()), test_types());
  };
  const auto causal = [](const char* name) {
    return causality_text(causality(baseline(name, test_types()), test_types(), {2, 64, 0}));
  };
  EXPECT_EQ(notation(baseline("glam-100m-32e", test_types()), test_types()), "agaf x6");
  EXPECT_EQ(notation(baseline("brainformer-1-8b-64e", test_types()), test_types()), "afgggfff x8");
  EXPECT_EQ(baseline("glam-100m-32e", test_types()).depth(), 24);
  EXPECT_EQ(family_of("dense-nano"), "dense");
  EXPECT_EQ(family_of("switch-nano"), "token_choice");
  EXPECT_EQ(family_of("brainformer-2-nano"), "expert_choice");
  Spec mixed = baseline("brainformer-2-nano", test_types());
  mixed.sublayers.push_back(baseline("glam-nano", test_types()).sublayers[1]);
  EXPECT_EQ(rate_group(mixed, test_types()), "expert_choice");  // wins over token choice
  EXPECT_EQ(causal("dense-nano"), "yes");
  EXPECT_EQ(causal("glam-nano"), "drops");
  EXPECT_EQ(causal("glam-dropless-nano"), "yes");
  EXPECT_EQ(causal("glam-ec-nano"), "selection");
}

TEST(Fields, OfAnotherKindAreABug) {
  const Fields fields = {{"heads", std::int64_t{4}}, {"capacity", 2.5}};
  EXPECT_EQ(number(fields, "heads"), 4);
  EXPECT_EQ(error_of([&] { integer(fields, "capacity"); }, Exit::Bug).substr(0, 8), "[fields]");
  EXPECT_EQ(error_of([&] { text(fields, "none"); }, Exit::Bug).substr(0, 8), "[fields]");
}

}  // namespace
}  // namespace moebius
