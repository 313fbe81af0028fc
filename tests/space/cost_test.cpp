#include "space/cost.h"

#include <gtest/gtest.h>

#include "space/scale.h"
#include "tests/support/test_types.h"

namespace moebius {
namespace {

using testing::error_of;
using testing::test_types;

const Recipe kRecipe = {.batch = 16, .seq = 64, .micro_batch = 8};

TEST(Cost, OfOneSmallBlockIsTheHandComputedOne) {
  const Spec spec = read_spec(parse_json(R"({"format":"moebius.block/1","d_model":8,"stacks":2,
    "sublayers":[{"type":"attn","heads":3,"head_dim":4,"position":"learned"},
                 {"type":"moe","d_moe":6,"experts":4,"gating":"top1","capacity":1.25,
                  "activation":"gated_gelu"}]})",
                                         "b"),
                              "b", test_types());
  const Cost c = cost(spec, test_types(), kRecipe, 100);
  const std::int64_t attn = 4 * 8 * 12, expert = 3 * 8 * 6, router = 8 * 4, norms = 2 * 8;
  EXPECT_EQ(c.block_parameters, 2 * (attn + 4 * expert + router + norms) + 8);
  EXPECT_EQ(c.embedding_parameters, 100 * 8 + 64 * 8);
  EXPECT_EQ(c.parameters, c.block_parameters + c.embedding_parameters);
  EXPECT_EQ(c.active_parameters, 2 * (attn + expert + router + norms) + 8);
  const double scores = 2.0 * 2 * 3 * 4 * (65 / 2.0);  // H K (S + 1) / 2 pairs, twice
  EXPECT_DOUBLE_EQ(c.active_flops, 2 * (2 * (attn + expert + router) + scores));
  EXPECT_DOUBLE_EQ(c.head_flops, 2.0 * 8 * 100);
  EXPECT_DOUBLE_EQ(c.forward_flops, c.active_flops + c.head_flops);
  EXPECT_EQ(c.tokens, 16 * 64);
  EXPECT_DOUBLE_EQ(c.step_flops, 3 * c.forward_flops * 1024);
  EXPECT_DOUBLE_EQ(c.exchange_bytes, 2 * 2 * 2 * 8.0 * 8 * 64 * 8);
}

TEST(Cost, IsTheFoldOfTheWholeOperationList) {
  for (const char* name : {"dense-nano", "glam-mini", "brainformer-1-micro", "moe-444m"}) {
    const Spec spec = baseline(name, test_types());
    const TokenShape shape{kRecipe.micro_batch, kRecipe.seq, spec.d_model};
    std::int64_t parameters = 0, updated = 0;
    double flops = 0;
    for (const Operation& operation : operations(spec, test_types(), shape, 256)) {
      if (const auto* pass = std::get_if<Pass>(&operation)) parameters += pass->parameters;
      if (const auto* attention = std::get_if<Attention>(&operation)) flops += attention->flops();
      if (const auto* update = std::get_if<WeightUpdate>(&operation)) updated += update->parameters;
      const auto* product = std::get_if<Matmul>(&operation);
      if (product == nullptr) continue;
      parameters += product->batch * product->n * product->k;
      flops += 2.0 * static_cast<double>(product->rows * product->n * product->k);
    }
    const Cost c = cost(spec, test_types(), kRecipe, 256);
    EXPECT_EQ(c.parameters, parameters) << name;
    EXPECT_EQ(updated, parameters) << name;
    EXPECT_EQ(c.update_bytes, 20.0 * static_cast<double>(parameters)) << name;
    EXPECT_DOUBLE_EQ(c.forward_flops, flops / static_cast<double>(shape.tokens())) << name;
    EXPECT_DOUBLE_EQ(active_flops(spec, test_types(), shape), c.active_flops) << name;
  }
}

TEST(Cost, DoesNotDependOnMicroBatching) {
  const Spec spec = baseline("glam-nano", test_types());
  Recipe whole = kRecipe;
  whole.micro_batch = whole.batch;
  const Cost a = cost(spec, test_types(), kRecipe, 256), b = cost(spec, test_types(), whole, 256);
  EXPECT_EQ(a.parameters, b.parameters);
  EXPECT_EQ(a.active_parameters, b.active_parameters);
  EXPECT_DOUBLE_EQ(a.step_flops, b.step_flops);
  EXPECT_DOUBLE_EQ(a.pass_bytes, b.pass_bytes);
  EXPECT_DOUBLE_EQ(a.exchange_bytes, b.exchange_bytes);
}

TEST(Cost, GptMicroHasAbout830kParameters) {
  const Spec spec = baseline("gpt-micro", test_types());
  EXPECT_EQ(notation(spec, test_types()), "af x4");
  EXPECT_EQ(spec.d_model, 128);
  EXPECT_EQ(integer(spec.sublayers[1].fields, "d_ffn"), 512);
  const Cost c = cost(spec, test_types(), kRecipe, 256);
  EXPECT_EQ(c.parameters, 4 * (4 * 128 * 128 + 2 * 128 * 512) + 9 * 128 + (256 + 64) * 128);
}

TEST(Cost, PerformanceShapesHaveTheirPublishedSize) {  // GPT-2-like 109.8M, GLaM-like 444.5M
  const Recipe recipe = {.batch = 4, .seq = 256, .micro_batch = 4};
  const auto millions = [&](const char* name) {
    const Cost c = cost(baseline(name, test_types()), test_types(), recipe, 32000);
    return static_cast<double>(c.parameters) / 1e6;
  };
  EXPECT_NEAR(millions("dense-110m"), 109.8, 0.1);
  EXPECT_NEAR(millions("moe-444m"), 444.5, 0.1);
}

TEST(Cost, RefusesWhatOverflows) {  // B23, B24
  Spec spec = baseline("dense-nano", test_types());
  spec.d_model = 1 << 20;
  spec.sublayers[1].fields["d_ffn"] = std::int64_t{1} << 20;
  spec.stacks = 1 << 16;
  const std::string line =
      "block: needs more than 1e15 parameters; allowed: at most 1e15 parameters";
  EXPECT_EQ(error_of([&] { cost(spec, test_types(), kRecipe, 256); }), line);
  // 2^48 parameters a block, 2^16 times: 64 bits would wrap to a harmless 2^43.
  const SubLayer ffn = spec.sublayers[1];
  spec.d_model = 1 << 24;
  spec.sublayers.assign(8, ffn);
  EXPECT_EQ(error_of([&] { cost(spec, test_types(), kRecipe, 256); }), line);

  Spec wide = baseline("dense-8b-64e", test_types());
  wide.stacks = 30'000;
  const Recipe huge = {.batch = 1 << 24, .seq = 65536, .micro_batch = 1};
  EXPECT_TRUE(error_of([&] { cost(wide, test_types(), huge, 256000); })
                  .starts_with("block: one step needs more than 1e24 FLOPs; allowed: at most 1e24 "
                               "FLOPs; got: "));
}

TEST(Cost, NeverGoesNegativeOverHostileSizes) {
  Rng rng(17);
  for (int i = 0; i < 2000; ++i) {
    const auto power = [&] { return std::int64_t{1} << rng.below(21); };
    Spec spec = baseline("glam-nano", test_types());
    spec.d_model = power();
    spec.stacks = 1 + static_cast<std::int64_t>(rng.below(1 << 14));
    spec.sublayers[1].fields["d_moe"] = power();
    spec.sublayers[3].fields["d_ffn"] = power();
    try {
      const Cost c = cost(spec, test_types(), kRecipe, 256000);
      EXPECT_GT(c.parameters, 0);
      EXPECT_LE(c.parameters, 1'000'000'000'000'000);
      EXPECT_GE(c.block_parameters, c.active_parameters);
      EXPECT_GT(c.step_flops, 0);
    } catch (const Error& error) {
      EXPECT_EQ(error.code(), Exit::BadInput);
    }
  }
}

}  // namespace
}  // namespace moebius
