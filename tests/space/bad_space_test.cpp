#include <gtest/gtest.h>

#include "space/space.h"
#include "tests/support/folder.h"
#include "tests/support/test_types.h"

// The rows of the bad-input table on space files: one exact line each, exit 2.

namespace moebius {
namespace {

using testing::error_of;
using testing::read_space;
using testing::small_space;
using testing::test_types;

struct BadCase {
  const char* name;
  const char* patch;  // RFC 7386 merge patch of the small space
  const char* line;
};

class BadSpace : public ::testing::TestWithParam<BadCase> {};

TEST_P(BadSpace, GetsItsLine) {
  Json document = small_space();
  document.merge_patch(Json::parse(GetParam().patch));
  EXPECT_EQ(error_of([&] { read_space(document); }), GetParam().line);
}

const BadCase kCases[] = {
    {"B01WrongType", R"({"knobs":{"d_model":{"choices":["64"]}}})",
     "s.json:/knobs/d_model/choices/0: must be an integer; allowed: 1..16777216; "
     "got: string \"64\""},
    {"B01NotAList", R"({"knobs":{"d_model":{"choices":64}}})",
     "s.json:/knobs/d_model/choices: must be an array; got: number 64"},
    {"B01NotAnObject", R"({"knobs":{"d_model":[32,64]}})",
     "s.json:/knobs/d_model: must be an object; got: array of 2"},
    {"B02Real", R"({"knobs":{"heads":{"choices":[2,3.5]}}})",
     "s.json:/knobs/heads/choices/1: must be an integer; allowed: 1..4096; "
     "got: number 3.5 (not an integer)"},
    {"B02Boolean", R"({"block":{"stacks":true}})",
     "s.json:/block/stacks: must be an integer; allowed: 1..1024; got: true"},
    {"B03Wraps", R"({"knobs":{"d_model":{"choices":[4294967297]}}})",
     "s.json:/knobs/d_model/choices/0: out of range; allowed: 1..16777216; got: number 4294967297"},
    {"B04Range", R"({"recipe":{"lr":1e308}})",
     "s.json:/recipe/lr: out of range; allowed: 1e-09..100; got: number 1e+308"},
    {"B05UnknownKnob", R"({"knobs":{"heds":{"per":"block","choices":[1]}}})",
     "s.json:/knobs/heds: unknown knob; did you mean 'heads'?; allowed: activation, capacity, "
     "d_ffn, d_model, d_moe, experts, gating, group, head_dim, heads, position, qkv_conv, type"},
    {"B05UnknownKey", R"({"knob":{}})",
     "s.json:/knob: unknown key; did you mean 'knobs'?; allowed: baseline, block, constraints, "
     "description, fixed, format, knobs, name, recipe, scale"},
    {"B05UnknownFixed", R"({"fixed":{"head_dims":1}})",
     "s.json:/fixed/head_dims: unknown field; did you mean 'head_dim'?; allowed: activation, "
     "capacity, d_ffn, d_model, d_moe, experts, gating, group, head_dim, heads, position, "
     "qkv_conv, type"},
    {"B05UnknownType", R"({"knobs":{"type":{"choices":["attn","moe","ffn","fnn"]}}})",
     "s.json:/knobs/type/choices/3: unknown choice; did you mean 'ffn'?; allowed: attn, moe, ffn; "
     "got: string \"fnn\""},
    {"B05FieldOfNoType", R"({"knobs":{"type":{"choices":["attn","ffn"]},"d_moe":null},
      "fixed":{"experts":null,"gating":null}})",
     "s.json:/fixed/capacity: unknown field; allowed: activation, d_ffn, d_model, head_dim, heads, "
     "position, qkv_conv, type"},
    {"B06MissingKey", R"({"knobs":{"heads":{"per":null}}})",
     "s.json:/knobs/heads: missing key \"per\""},
    {"B06MissingBlock", R"({"block":null})", "s.json: missing key \"block\""},
    {"B06NobodySets", R"({"fixed":{"head_dim":null}})",
     "s.json:/knobs: nothing sets head_dim of attn; allowed: /knobs/head_dim or /fixed/head_dim"},
    {"B06NoTypes", R"({"knobs":{"type":null}})",
     "s.json:/knobs: nothing sets type of the sub-layers; allowed: /knobs/type or /fixed/type"},
    {"B06NoWidth", R"({"knobs":{"d_model":null}})",
     "s.json:/knobs: nothing sets d_model of the block; allowed: /knobs/d_model or "
     "/fixed/d_model"},
    {"B07EmptyList", R"({"knobs":{"heads":{"choices":[]}}})",
     "s.json:/knobs/heads/choices: choice list is empty"},
    {"B08DuplicateChoice", R"({"knobs":{"heads":{"choices":[2,4,2]}}})",
     "s.json:/knobs/heads/choices/2: duplicate of /knobs/heads/choices/0"},
    {"B08EqualNumbers", R"({"fixed":{"capacity":null},
      "knobs":{"capacity":{"per":"block","choices":[2,2.0]}}})",
     "s.json:/knobs/capacity/choices/1: duplicate of /knobs/capacity/choices/0"},
    {"B08KnobAndFixed", R"({"fixed":{"heads":2}})",
     "s.json:/fixed/heads: is also a knob; allowed: one of the two"},
    {"B15BoundsCross",
     R"({"constraints":[{"metric":"parameters","min_over_baseline":2,"max_over_baseline":1}]})",
     "s.json:/constraints/0: min_over_baseline (2) > max_over_baseline (1)"},
    {"B16NegativeBound", R"({"constraints":[{"metric":"parameters","max_over_baseline":-1}]})",
     "s.json:/constraints/0/max_over_baseline: out of range; allowed: 0.001..1000; "
     "got: number -1"},
    {"NoBound", R"({"constraints":[{"metric":"parameters"}]})",
     "s.json:/constraints/0: missing key \"max_over_baseline\""},
    {"UnknownMetric", R"({"constraints":[{"metric":"latency","max_over_baseline":1}]})",
     "s.json:/constraints/0/metric: unknown choice; allowed: step_time, active_flops, parameters; "
     "got: string \"latency\""},
    {"OtherProfile", R"({"constraints":[{"metric":"step_time","profile":"h100","scale":"proxy",
      "max_over_baseline":1}]})",
     "s.json:/constraints/0/profile: unknown choice; allowed: cpu-local; got: string \"h100\""},
    {"OtherScale", R"({"constraints":[{"metric":"step_time","profile":"cpu-local","scale":"8b-64e",
      "max_over_baseline":1}]})",
     "s.json:/constraints/0/scale: unknown choice; allowed: proxy; got: string \"8b-64e\""},
    {"StepTimeHasNoFloor", R"({"constraints":[{"metric":"step_time","profile":"cpu-local",
      "scale":"proxy","max_over_baseline":1,"min_over_baseline":0.5}]})",
     "s.json:/constraints/0/min_over_baseline: unknown key; did you mean 'max_over_baseline'?; "
     "allowed: max_over_baseline, metric, profile, scale"},
    {"B17Name", R"({"name":"../../etc/x"})",
     "s.json:/name: must begin with a letter or digit; got: string \"../../etc/x\""},
    {"B20ZeroHeads", R"({"knobs":{"heads":{"choices":[0,2]}}})",
     "s.json:/knobs/heads/choices/0: out of range; allowed: 1..4096; got: number 0"},
    {"B20ZeroLayers", R"({"block":{"sublayers":0}})",
     "s.json:/block/sublayers: out of range; allowed: 1..64; got: number 0"},
    {"B20ZeroSequence", R"({"recipe":{"seq":0}})",
     "s.json:/recipe/seq: out of range; allowed: 1..65536; got: number 0"},
    {"B21NothingLegal", R"({"recipe":{"seq":63},"knobs":{"type":{"choices":["moe"]},"heads":null,
      "d_ffn":null},"fixed":{"head_dim":null}})",
     "s.json: no legal block among 1000 samples; "
     "got: /sublayers/0/capacity: 31.5 slots an expert in a group of 63"},
    {"B22Capacity", R"({"fixed":{"capacity":100}})",
     "s.json:/fixed/capacity: out of range; allowed: 0..64; got: number 100"},
    {"WidthPerSublayer", R"({"knobs":{"d_model":{"per":"sublayer"}}})",
     "s.json:/knobs/d_model/per: the width is one for all sub-layers; allowed: block; "
     "got: sublayer"},
    {"UnknownBaseline", R"({"baseline":["glam","glma"]})",
     "s.json:/baseline/1: unknown block; did you mean 'glam'?; allowed: brainformer-1, "
     "brainformer-2, dense, glam, glam-dropless, glam-ec, gpt, llama, primer-ez, switch, "
     "switch-dropless, or a .json file; got: string \"glma\""},
    {"DuplicateBaseline", R"({"baseline":["glam","glam"]})",
     "s.json:/baseline/1: duplicate baseline; got: string \"glam\""},
    {"NoScale", R"({"scale":null})", "s.json:/baseline: a block name needs the key /scale"},
    {"UnknownScale", R"({"scale":"nanno"})",
     "s.json:/scale: unknown choice; did you mean 'nano'?; allowed: nano, micro, mini, 100m-32e, "
     "100m-32e-v32k, 1b-64e, 8b-64e; got: string \"nanno\""},
    {"ConstraintsWithoutBaseline", R"({"baseline":null})",
     "s.json: missing key \"baseline\": /constraints compare with it"},
    {"SeveralAtOnce", R"({"format":"moebius.space/2","block":{"stacks":0},"scael":1})",
     "s.json:/format: unknown format; allowed: moebius.space/1; got: string \"moebius.space/2\"\n"
     "s.json:/block/stacks: out of range; allowed: 1..1024; got: number 0\n"
     "s.json:/scael: unknown key; did you mean 'scale'?; allowed: baseline, block, constraints, "
     "description, fixed, format, knobs, name, recipe, scale"},
};

INSTANTIATE_TEST_SUITE_P(Table, BadSpace, ::testing::ValuesIn(kCases),
                         [](const auto& each) { return std::string(each.param.name); });

TEST(BadSpace, WrongDocumentsGetOneLine) {  // B12
  EXPECT_EQ(error_of([] { read_space(Json()); }), "s.json: must be an object; got: null");
  EXPECT_EQ(error_of([] { read_space(Json::array()); }),
            "s.json: must be an object; got: array of 0");
}

TEST(BadSpace, AChoiceMustBeRightForEveryTypeThatDeclaresTheField) {
  LayerTypes types("sub-layer type");
  LayerType narrow = testing::ffn_type();
  narrow.fields[1].choices = {"relu"};
  types.add("attn", testing::attn_type());
  types.add("moe", testing::moe_type());
  types.add("ffn", narrow);
  EXPECT_EQ(
      error_of([&] { Space::read(small_space(), "s.json", types); }),
      "s.json:/knobs/activation/choices/1: unknown choice; did you mean 'relu'?; allowed: relu; "
      "got: string \"gelu\"");
}

TEST(BadSpace, BlocksCannotReferToEachOther) {  // B13, B14: the language has no references
  Json document = small_space();
  document["defs"] = {{"a", {{"$ref", "#/defs/a"}}}};
  EXPECT_TRUE(error_of([&] { read_space(document); }).starts_with("s.json:/defs: unknown key"));
}

TEST(Space, BaselinesMayBeFullNamesFixedBlocksAndFiles) {
  const testing_support::Folder folder;
  const std::string path =
      folder.write("own_block.json", R"({"format":"moebius.baseline/1","name":"own","source":"test",
    "d_model":1,"sublayers":[{"type":"attn","heads":2},
    {"type":"ffn","d_ffn":2,"activation":"relu"}]})");
  Json document = small_space();
  document["baseline"] = {"glam", "dense-micro", "dense-110m", path};
  const Space space = read_space(document);
  ASSERT_EQ(space.baselines().size(), 4u);
  const auto width = [&](std::size_t i) {
    return space_baseline(space, space.baselines()[i], test_types()).d_model;
  };
  EXPECT_EQ(width(0), 48);
  EXPECT_EQ(width(1), 128);
  EXPECT_EQ(width(2), 768);
  EXPECT_EQ(width(3), 48);
  const Spec own = space_baseline(space, path, test_types());
  EXPECT_EQ(integer(own.sublayers[0].fields, "heads"), 6);
  EXPECT_EQ(integer(own.sublayers[1].fields, "d_ffn"), 96);
}

}  // namespace
}  // namespace moebius
