#include "space/scale.h"

#include <gtest/gtest.h>

#include "space/cost.h"
#include "space/space.h"
#include "tests/support/test_types.h"

namespace moebius {
namespace {

using testing::error_of;
using testing::test_types;

// Parameters of the products of the blocks alone, as the papers are counted (papers.md 1.7, 3.1).
double billions(const Spec& spec) {
  std::int64_t count = 0;
  const auto list = operations(spec, test_types(), {.batch = 1, .seq = 64}, 1);
  for (const Operation& operation : list)
    if (const auto* product = std::get_if<Matmul>(&operation))
      count += product->batch * product->n * product->k;
  return static_cast<double>(count - spec.d_model) / 1e9;  // the head of one token
}

double glam(const std::string& scale_name, std::int64_t experts) {
  Scale row = scale(scale_name);
  row.experts = experts;
  return billions(baseline("glam", row, test_types()));
}

TEST(Scale, RowsAreFoundAsPapersWriteThem) {
  EXPECT_EQ(scale("1B/64E").name, "1b-64e");
  EXPECT_EQ(scale("nano").d_model, 48);
  EXPECT_EQ(error_of([] { scale("1b-64"); }),
            "scale: unknown scale; did you mean '1b-64e'?; allowed: nano, micro, mini, 100m-32e, "
            "100m-32e-v32k, 1b-64e, 8b-64e; got: 1b-64");
}

TEST(Baseline, GlamHasThePublishedParameters) {
  EXPECT_NEAR(glam("100m-32e", 16), 0.524, 0.0005);
  EXPECT_NEAR(glam("100m-32e", 32), 0.977, 0.0005);
  EXPECT_NEAR(glam("100m-32e", 64), 1.883, 0.0005);
  EXPECT_NEAR(glam("100m-32e", 128), 3.695, 0.0005);
  EXPECT_NEAR(glam("1b-64e", 64), 26.78, 0.005);
  EXPECT_NEAR(glam("1b-64e", 128), 52.55, 0.005);
  EXPECT_NEAR(glam("1b-64e", 256), 104.1, 0.05);
  EXPECT_NEAR(glam("8b-64e", 64), 142.8, 0.05);
}

TEST(Baseline, BrainformersHaveThePublishedParameters) {
  const auto size = [](const char* name) { return billions(baseline(name, test_types())); };
  EXPECT_NEAR(size("brainformer-1-100m-32e"), 1.88, 0.005);
  EXPECT_NEAR(size("brainformer-1-1b-64e"), 29.5, 0.05);
  EXPECT_NEAR(size("brainformer-1-8b-64e"), 157.2, 0.05);
  EXPECT_NEAR(size("brainformer-2-100m-32e"), 1.30, 0.005);
  EXPECT_NEAR(size("brainformer-2-1b-64e"), 19.9, 0.05);
}

TEST(Baseline, DenseRowsHaveThePublishedParameters) {
  // Gated, 16 d^2 a layer: 1.61B and 8.59B where Table 2 prints 1.7B and 8.7B with the rest.
  EXPECT_NEAR(billions(baseline("dense-100m-32e", test_types())), 12 * 16 * 768.0 * 768 / 1e9,
              1e-9);
  EXPECT_NEAR(billions(baseline("dense-1b-64e", test_types())), 24 * 16 * 2048.0 * 2048 / 1e9,
              1e-9);
  EXPECT_NEAR(billions(baseline("dense-8b-64e", test_types())), 32 * 16 * 4096.0 * 4096 / 1e9,
              1e-9);
}

TEST(Baseline, Brainformer1IsThePapersBlockAtItsOwnScale) {
  const Spec spec = baseline("brainformer-1-100m-32e", test_types());
  EXPECT_EQ(spec.d_model, 1024);
  EXPECT_EQ(spec.stacks, 3);
  EXPECT_EQ(integer(spec.sublayers[0].fields, "heads"), 20);
  EXPECT_EQ(integer(spec.sublayers[0].fields, "head_dim"), 64);
  EXPECT_EQ(integer(spec.sublayers[1].fields, "d_ffn"), 1536);
  EXPECT_EQ(integer(spec.sublayers[2].fields, "d_moe"), 2048);
  EXPECT_EQ(integer(baseline("brainformer-2-100m-32e", test_types()).sublayers[1].fields, "heads"),
            16);
}

TEST(Baseline, EveryBlockIsLegalAtEveryScale) {
  for (const Scale& row : scales())
    for (const std::string& block : baseline_blocks()) {
      const Spec spec = baseline(block, row, test_types());
      EXPECT_EQ(why_illegal(spec, test_types(), TokenShape{.batch = row.batch, .seq = row.seq}), "")
          << block << " at " << row.name;
      EXPECT_EQ(spec.depth(), row.sublayers);
      const auto parts = split_baseline(block + "-" + row.name);
      ASSERT_TRUE(parts);
      EXPECT_EQ(parts->block, block);
      EXPECT_EQ(parts->scale, row.name);
    }
}

// The sizes of 1B and 8B are published ones: at ours, without embeddings, Brainformer-1 has 0.97B
// and 5.0B active parameters where GLaM has 1.81B and 9.67B.
TEST(Baseline, Brainformer1SitsAtGlamsActiveSizeWhereNoneIsPublished) {
  for (const Scale& row : scales()) {
    const TokenShape shape{.batch = 1, .seq = row.seq};
    const double ratio =
        active_flops(baseline("brainformer-1", row, test_types()), test_types(), shape) /
        active_flops(baseline("glam", row, test_types()), test_types(), shape);
    const bool published = row.name.starts_with("1b") || row.name.starts_with("8b");
    EXPECT_NEAR(ratio, published ? 0.52 : 1.0, published ? 0.02 : 0.1) << row.name;
  }
}

TEST(Baseline, ShipsTheNamesScriptsRelyOn) {
  const std::vector<std::string> expected = {
      "brainformer-1", "brainformer-2", "dense",     "glam",   "glam-dropless",  "glam-ec",
      "gpt",           "llama",         "primer-ez", "switch", "switch-dropless"};
  EXPECT_EQ(baseline_blocks(), expected);
  EXPECT_EQ(fixed_blocks(), (std::vector<std::string>{"dense-110m", "moe-444m"}));
}

TEST(Baseline, NamesTheNearestOfTheUnknown) {
  const std::string line = error_of([] { baseline("glam-nan", test_types()); });
  EXPECT_TRUE(line.starts_with("baseline: unknown block; did you mean 'glam-nano'?; allowed: "))
      << line;
  EXPECT_TRUE(line.ends_with("; got: glam-nan")) << line;
  EXPECT_EQ(error_of([] { baseline("glan", scale("nano"), test_types()); }).substr(0, 51),
            "baseline: unknown block; did you mean 'glam'?; allo");
}

TEST(Baseline, ABlockThatDoesNotFillTheScaleIsAnError) {
  Scale row = scale("nano");
  row.sublayers = 6;
  EXPECT_EQ(error_of([&] { baseline("glam", row, test_types()); }),
            "space/blocks/glam.json: a block of 4 sub-layers does not fill the 6 of scale nano; "
            "allowed: divisors of 6; got: 4");
}

TEST(ScaleBlock, GivesThePapersBrainformersFromTheirProxy) {
  const Spec proxy = baseline("brainformer-1-100m-32e", test_types());
  const Scale from = scale("100m-32e");
  EXPECT_EQ(scale_block(proxy, from, scale("1b-64e"), test_types()),
            baseline("brainformer-1-1b-64e", test_types()));
  EXPECT_EQ(scale_block(proxy, from, scale("8b-64e"), test_types()),
            baseline("brainformer-1-8b-64e", test_types()));
  EXPECT_EQ(scale_block(proxy, from, from, test_types()), proxy);
  EXPECT_EQ(scale_block(baseline("brainformer-2-100m-32e", test_types()), from, scale("8b-64e"),
                        test_types()),
            baseline("brainformer-2-8b-64e", test_types()));
}

TEST(ScaleBlock, HeadsFollowTheRule) {
  const Spec proxy = baseline("brainformer-1-100m-32e", test_types());
  const auto attention = [&](HeadRule rule) {
    const Spec spec = scale_block(proxy, scale("100m-32e"), scale("1b-64e"), test_types(), rule);
    const Fields& fields = spec.sublayers[0].fields;
    return std::pair(integer(fields, "heads"), integer(fields, "head_dim"));
  };
  EXPECT_EQ(attention(HeadRule::Row), std::pair(std::int64_t{20}, std::int64_t{64}));
  EXPECT_EQ(attention(HeadRule::Keep), std::pair(std::int64_t{20}, std::int64_t{64}));
  EXPECT_EQ(attention(HeadRule::ScaleHeads), std::pair(std::int64_t{40}, std::int64_t{64}));
  EXPECT_EQ(attention(HeadRule::ScaleHeadDim), std::pair(std::int64_t{20}, std::int64_t{128}));
}

// Heads of nano are 16 wide: at other sizes they are as wide as the row's, and H K grows as D does.
TEST(ScaleBlock, HeadsOfNanoBecomeThoseOfTheRow) {
  Spec proxy = baseline("brainformer-1-nano", test_types());
  proxy.d_model = 64;
  for (SubLayer& sublayer : proxy.sublayers)
    if (sublayer.fields.count("heads") == 1) sublayer.fields["heads"] = std::int64_t{3};
  const Scale nano = scale("nano");
  for (const Scale& row : scales()) {
    const Spec spec = scale_block(proxy, nano, row, test_types());
    for (const SubLayer& sublayer : spec.sublayers) {
      if (sublayer.fields.count("heads") == 0) continue;
      EXPECT_EQ(integer(sublayer.fields, "head_dim"), row.head_dim);
      const auto width = static_cast<double>(integer(sublayer.fields, "heads") * row.head_dim);
      EXPECT_NEAR(width / static_cast<double>(spec.d_model), 3 * 16 / 64.0, 0.15) << row.name;
    }
  }
}

// Fields scale as they declare, whatever their names (B18).
TEST(ScaleBlock, FieldsScaleAsDeclared) {
  LayerTypes types("sub-layer type");
  LayerType mixer;
  mixer.name = "mixer";
  mixer.fields = {
      {.name = "d_state", .low = 1, .high = 64},
      {.name = "d_gain",
       .kind = Field::Kind::Number,
       .low = 0,
       .high = 1e6,
       .scaling = Scaling::Width},
      {.name = "inner", .low = 1, .high = 1 << 20, .scaling = Scaling::Width, .iso_flops = true},
      {.name = "kv_heads", .low = 1, .high = 64, .scaling = Scaling::Heads},
      {.name = "shared_experts", .low = 1, .high = 64, .scaling = Scaling::Experts}};
  mixer.operations = [](const Fields& fields, const TokenShape& shape) {
    return std::vector<Operation>{Matmul{shape.tokens(), integer(fields, "inner"), shape.d_model}};
  };
  types.add("mixer", mixer);
  const Fields fields = {{"d_state", std::int64_t{16}},
                         {"d_gain", 0.3},
                         {"inner", std::int64_t{96}},
                         {"kv_heads", std::int64_t{4}},
                         {"shared_experts", std::int64_t{2}}};
  const Spec spec{.d_model = 768, .stacks = 24, .sublayers = {{"mixer", fields}}};
  const auto scaled = [&](HeadRule rule) {
    return scale_block(spec, scale("100m-32e"), scale("1b-64e"), types, rule).sublayers[0].fields;
  };
  EXPECT_EQ(scaled(HeadRule::Keep), (Fields{{"d_state", std::int64_t{16}},
                                            {"d_gain", 0.6},
                                            {"inner", std::int64_t{192}},
                                            {"kv_heads", std::int64_t{4}},
                                            {"shared_experts", std::int64_t{64}}}));
  EXPECT_EQ(integer(scaled(HeadRule::ScaleHeads), "kv_heads"), 8);

  const Fields wider = iso_flops(spec, 2 * active_flops(spec, types, {1, 8, 0}), types, {1, 8, 0})
                           .sublayers[0]
                           .fields;
  EXPECT_EQ(integer(wider, "inner"), 192);
  EXPECT_EQ(number(wider, "d_gain"), 0.3);

  const Json file = Json::parse(R"({"format":"moebius.baseline/1","name":"m","source":"-",
    "d_model":1,"sublayers":[{"type":"mixer","d_state":16,"d_gain":0.001,"inner":2,
    "kv_heads":0.25}],"published":{"8b-64e":{"d_model":4096,"d_gain":7.5}}})");
  const Fields base = read_block(file, "m.json", scale("1b-64e"), types).sublayers[0].fields;
  EXPECT_EQ(base, (Fields{{"d_state", std::int64_t{16}},
                          {"d_gain", 1.536},
                          {"inner", std::int64_t{3072}},
                          {"kv_heads", std::int64_t{6}},
                          {"shared_experts", std::int64_t{64}}}));
  const Spec published = read_block(file, "m.json", scale("8b-64e"), types);
  EXPECT_EQ(published.d_model, 4096);
  EXPECT_EQ(number(published.sublayers[0].fields, "d_gain"), 7.5);
  Json wrong = file;
  wrong["published"]["8b-64e"] = {{"d_state", 32}};
  EXPECT_EQ(error_of([&] { read_block(wrong, "m.json", scale("8b-64e"), types); }),
            "m.json:/published/8b-64e/d_state: unknown size; allowed: d_gain, d_model, inner, "
            "kv_heads");
}

TEST(IsoFlops, MeetsTheTargetWithinTwoPercent) {
  for (const Scale& row : scales()) {
    const TokenShape shape{.batch = 1, .seq = row.seq};
    const double target = active_flops(baseline("glam", row, test_types()), test_types(), shape);
    for (const char* block : {"brainformer-1", "switch", "llama", "dense"}) {
      const Spec spec = iso_flops(baseline(block, row, test_types()), target, test_types(), shape);
      EXPECT_NEAR(active_flops(spec, test_types(), shape) / target, 1, 0.02)
          << block << " at " << row.name;
    }
  }
}

TEST(IsoFlops, RefusesATargetBelowTheAttentionAlone) {
  EXPECT_TRUE(
      error_of([] {
        iso_flops(baseline("dense-nano", test_types()), 1000, test_types(), {1, 64, 0});
      }).starts_with("iso-flops: no hidden width gives the wanted active FLOPs within 2 %"));
}

}  // namespace
}  // namespace moebius
