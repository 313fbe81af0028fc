// Names, shapes, roles and initial values of a model's parameters: what checkpoints, optimizers and
// other frameworks rely on.

#include <gtest/gtest.h>

#include "tests/model/model_support.h"

namespace moebius::testing {
namespace {

constexpr std::int64_t kVocab = 300;
constexpr double kOut = 1 / 2.8284271247461903;  // 1 / sqrt(2 * 4 sub-layers)

std::string describe(const ParamSlot& slot) {
  const char* roles[] = {"hidden", "router", "embedding", "vector", "state", "sum"};
  const char* kinds[] = {"constant", "normal", "first_row_one"};
  return fmt::format("{} [{}, {}, {}] {} {} {:.4f}", slot.name, slot.batch, slot.rows, slot.cols,
                     roles[static_cast<int>(slot.role)], kinds[static_cast<int>(slot.init.kind)],
                     slot.init.value);
}

std::vector<std::string> describe(const Spec& spec) {
  Params params;
  const Model model(spec, TokenShape{2, 8, spec.d_model}, kVocab, builtin_catalog(), params);
  std::vector<std::string> lines;
  for (const ParamSlot& slot : params.slots()) lines.push_back(describe(slot));
  return lines;
}

TEST(Parameters, OfADenseModel) {
  const Spec spec = block(16, {attn(3, 4, "learned", 3), ffn(25, "gated_gelu")}, 2);
  const std::string in = "hidden normal 0.2500";  // 1 / sqrt(16)
  std::vector<std::string> want = {"embedding.table [1, 300, 16] embedding normal 0.0200",
                                   "embedding.positions [1, 8, 16] embedding normal 0.0200"};
  for (const std::string stack : {"stack.0.", "stack.1."}) {
    want.push_back(stack + "sublayer.0.norm.gain [1, 1, 16] vector constant 1.0000");
    for (const char* name : {"q", "k", "v"})
      want.push_back(stack + "sublayer.0.attn." + name + " [1, 16, 12] " + in);
    want.push_back(fmt::format("{}sublayer.0.attn.out [1, 12, 16] hidden normal {:.4f}", stack,
                               kOut / std::sqrt(12.0)));
    for (const char* name : {"q", "k", "v"})
      want.push_back(stack + "sublayer.0.attn." + name +
                     "_conv [1, 3, 12] vector first_row_one 0.0000");
    want.push_back(stack + "sublayer.1.norm.gain [1, 1, 16] vector constant 1.0000");
    for (const char* name : {"gate", "up"})
      want.push_back(stack + "sublayer.1.ffn." + name + " [1, 16, 25] " + in);
    want.push_back(
        fmt::format("{}sublayer.1.ffn.down [1, 25, 16] hidden normal {:.4f}", stack, kOut / 5));
  }
  want.push_back("final.gain [1, 1, 16] vector constant 1.0000");
  EXPECT_EQ(describe(spec), want);
}

TEST(Parameters, OfASparseModel) {
  const Spec spec =
      block(16, {attn(2, 8), moe(25, 4, "expert_choice", 1),
                 moe(25, 4, "expert_choice", 1, "position", "gated_relu"), moe(9, 2, "top2", 0)});
  const std::vector<std::string> want = {
      "embedding.table [1, 300, 16] embedding normal 0.0200",
      "stack.0.sublayer.0.norm.gain [1, 1, 16] vector constant 1.0000",
      "stack.0.sublayer.0.attn.q [1, 16, 16] hidden normal 0.2500",
      "stack.0.sublayer.0.attn.k [1, 16, 16] hidden normal 0.2500",
      "stack.0.sublayer.0.attn.v [1, 16, 16] hidden normal 0.2500",
      "stack.0.sublayer.0.attn.out [1, 16, 16] hidden normal 0.0884",
      "stack.0.sublayer.0.attn.bias [1, 32, 2] vector normal 0.1250",
      "stack.0.sublayer.1.norm.gain [1, 1, 16] vector constant 1.0000",
      "stack.0.sublayer.1.moe.router [1, 16, 4] router normal 0.0200",
      "stack.0.sublayer.1.moe.up [4, 16, 25] hidden normal 0.2500",
      "stack.0.sublayer.1.moe.down [4, 25, 16] hidden normal 0.0707",
      "stack.0.sublayer.1.moe.threshold [1, 1, 4] state constant 0.0000",
      "stack.0.sublayer.1.moe.lowest [1, 1, 5] sum constant 0.0000",
      "stack.0.sublayer.2.norm.gain [1, 1, 16] vector constant 1.0000",
      "stack.0.sublayer.2.moe.router [1, 16, 4] router normal 0.0200",
      "stack.0.sublayer.2.moe.gate [4, 16, 25] hidden normal 0.2500",
      "stack.0.sublayer.2.moe.up [4, 16, 25] hidden normal 0.2500",
      "stack.0.sublayer.2.moe.down [4, 25, 16] hidden normal 0.0707",
      "stack.0.sublayer.2.moe.threshold [1, 1, 4] state constant 0.0000",
      "stack.0.sublayer.2.moe.lowest [1, 1, 5] sum constant 0.0000",
      "stack.0.sublayer.3.norm.gain [1, 1, 16] vector constant 1.0000",
      "stack.0.sublayer.3.moe.router [1, 16, 2] router normal 0.0200",
      "stack.0.sublayer.3.moe.up [2, 16, 9] hidden normal 0.2500",
      "stack.0.sublayer.3.moe.down [2, 9, 16] hidden normal 0.1179",
      "final.gain [1, 1, 16] vector constant 1.0000"};
  EXPECT_EQ(describe(spec), want);
}

TEST(Legality, IsSaidInTheWordsOfTheField) {
  const auto why = [](const SubLayer& sublayer) {
    const Spec spec = block(16, {sublayer});
    return why_illegal(spec, builtin_catalog().types, TokenShape{2, 8, 16});
  };
  EXPECT_EQ(why(attn(2, 8, "rope")), "");
  EXPECT_EQ(why(moe(8, 1, "top1")), "");
  EXPECT_EQ(why(attn(2, 7, "rope")),
            "/sublayers/0/head_dim: rope rotates pairs, so it must be even, not 7");
  EXPECT_EQ(why(attn(2, 8, "none", 2)), "/sublayers/0/qkv_conv: must be 0 (none) or 3 taps, not 2");
  EXPECT_EQ(why(moe(8, 1, "top2")),
            "/sublayers/0/experts: 2 choices per token need as many experts, not 1");
  EXPECT_EQ(why(moe(8, 4, "expert_choice")),
            "/sublayers/0/capacity: experts that choose tokens need a number of slots, not "
            "\"none\"");
  EXPECT_EQ(why(moe(8, 4, "expert_choice", 5)).find("/sublayers/0/group: capacity 5"), 0u);
  EXPECT_EQ(why(moe(8, 3, "top2", 1)).find("/sublayers/0/group: capacity 1 x 8 tokens"), 0u);
  EXPECT_EQ(why(moe(8, 4, "top2", 1, "rows")).find("/sublayers/0/group: unknown group"), 0u);
}

TEST(Gatings, ComputeTheSlotsThatTheyDeclare) {
  const auto pairs = [](const std::string& gating, double capacity) {
    return builtin_catalog().gatings.get(gating).pairs_per_token(capacity);
  };
  EXPECT_EQ(pairs("top2", -1), 2);
  EXPECT_EQ(pairs("top2", 1.5), 1.5);
  EXPECT_EQ(pairs("top2", 4), 2);
  EXPECT_EQ(pairs("top1", -1), 1);
  EXPECT_EQ(pairs("top1", 0.5), 0.5);
  EXPECT_EQ(pairs("expert_choice", 3), 3);
}

}  // namespace
}  // namespace moebius::testing
