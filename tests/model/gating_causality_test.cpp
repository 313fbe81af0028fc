// Declared causality against behaviour: change token j of one row and look at every logit before j.

#include <gtest/gtest.h>

#include <algorithm>

#include "space/cost.h"
#include "tests/model/model_support.h"

namespace moebius::testing {
namespace {

constexpr std::int64_t kBatch = 4, kSeq = 8, kVocab = 13, kWidth = 8;

// Whether any logit at a position < j of any row moves by a bit when token j of row b changes; over
// all b and j of one batch.
bool sees_future_of(Learner& learner, Mode mode, std::vector<std::int32_t> tokens) {
  const std::vector<double> before = learner.logits(tokens, mode);
  for (std::int64_t row = 0; row < kBatch; ++row)
    for (std::int64_t j = 1; j < kSeq; ++j) {
      std::int32_t& token = tokens[static_cast<std::size_t>(row * kSeq + j)];
      const std::int32_t kept = token;
      token = (token + 5) % kVocab;
      const std::vector<double> after = learner.logits(tokens, mode);
      token = kept;
      for (std::int64_t i = 0; i < kBatch * kSeq * kVocab; ++i)
        if (i / kVocab % kSeq < j &&
            before[static_cast<std::size_t>(i)] != after[static_cast<std::size_t>(i)])
          return true;
    }
  return false;
}

bool sees_future(Learner& learner, Mode mode) {
  for (const std::uint64_t seed : {7, 8, 9})
    if (sees_future_of(learner, mode, random_tokens(kBatch * kSeq, kVocab, seed))) return true;
  return false;
}

// A learner whose routing state has seen one step; its weights are not updated.
struct Primed {
  explicit Primed(const Spec& spec)
      : learner(spec, recipe(kBatch, kSeq), kVocab, options(), builtin_catalog()) {
    shake(learner, 5);
    learner.gradients(random_tokens(kBatch * kSeq, kVocab, 3),
                      random_tokens(kBatch * kSeq, kVocab, 4));
  }
  Learner learner;
};

TEST(Causality, AttentionAndFeedForwardIgnoreTheFuture) {
  for (const char* position : {"relative_bias", "rope", "learned", "none"})
    for (const std::int64_t taps : {0, 3}) {
      Primed primed(block(kWidth, {attn(2, 4, position, taps), ffn(6), attn(2, 4, position)}));
      EXPECT_FALSE(sees_future(primed.learner, Mode::Native)) << position << " " << taps;
    }
}

struct Case {
  std::string name;
  Spec spec;
};

void PrintTo(const Case& value, std::ostream* out) { *out << value.name; }

// Every gating x group x capacity that is legal. tokens:16 spans two sequences.
std::vector<Case> cases() {
  std::vector<Case> result;
  for (const std::string& gating : builtin_catalog().gatings.names())
    for (const std::string group : {"sequence", "position", "batch", "tokens:16"})
      for (const double capacity : {0.0, 1.0, 2.0}) {
        const Spec spec =
            block(kWidth, {attn(2, 4), moe(6, 4, gating, capacity, group), attn(2, 4)});
        if (!why_illegal(spec, builtin_catalog().types, recipe(kBatch, kSeq)).empty()) continue;
        std::string name = fmt::format("{}_{}_c{}", gating, group, capacity);
        std::replace(name.begin(), name.end(), ':', '_');
        result.push_back({name, spec});
      }
  return result;
}

class DeclaredCausality : public ::testing::TestWithParam<Case> {
 protected:
  Causality declared() const {
    return causality(GetParam().spec, builtin_catalog().types, TokenShape{kBatch, kSeq, kWidth});
  }
};

// "yes" never sees the future; the others are caught at it here, so the declarations are not too
// careful.
TEST_P(DeclaredCausality, IsWhatTheProbeMeasures) {
  Primed primed(GetParam().spec);
  EXPECT_EQ(sees_future(primed.learner, Mode::Native), declared() != Causality::Yes);
}

// The ranked loss: no later token matters, whatever training does.
TEST_P(DeclaredCausality, TheModeThatRanksNeverSeesTheFuture) {
  Primed primed(GetParam().spec);
  EXPECT_FALSE(sees_future(primed.learner, Mode::Causal));
  Learner fresh(GetParam().spec, recipe(kBatch, kSeq), kVocab, options(), builtin_catalog());
  shake(fresh, 5);
  EXPECT_FALSE(sees_future(fresh, Mode::Causal)) << "before the first threshold";
}

// Nor do the other sequences of a batch, so that generation with a batch of one is defined.
TEST_P(DeclaredCausality, TheModeThatRanksTreatsSequencesApart) {
  Primed primed(GetParam().spec);
  std::vector<std::int32_t> tokens = random_tokens(kBatch * kSeq, kVocab, 7);
  const std::vector<double> before = primed.learner.logits(tokens, Mode::Causal);
  for (std::size_t t = kSeq; t < tokens.size(); ++t) tokens[t] = (tokens[t] + 5) % kVocab;
  const std::vector<double> after = primed.learner.logits(tokens, Mode::Causal);
  EXPECT_TRUE(std::equal(before.begin(), before.begin() + kSeq * kVocab, after.begin()));
}

TEST_P(DeclaredCausality, TheModeThatRanksDropsNothing) {
  Primed primed(GetParam().spec);
  primed.learner.logits(random_tokens(kBatch * kSeq, kVocab, 7), Mode::Causal);
  EXPECT_EQ(primed.learner.dropped(), 0);
}

INSTANTIATE_TEST_SUITE_P(Gatings, DeclaredCausality, ::testing::ValuesIn(cases()),
                         [](const auto& it) { return it.param.name; });

TEST(Causality, IsDeclaredAsDesigned) {
  const auto declared = [](const SubLayer& sublayer) {
    return causality(block(kWidth, {sublayer}), builtin_catalog().types,
                     TokenShape{kBatch, kSeq, kWidth});
  };
  EXPECT_EQ(declared(moe(6, 4, "top2")), Causality::Yes);
  EXPECT_EQ(declared(moe(6, 4, "top2", 1)), Causality::Drops);
  EXPECT_EQ(declared(moe(6, 4, "top2", 1, "position")), Causality::Yes);
  EXPECT_EQ(declared(moe(6, 4, "top1", 1)), Causality::Yes);
  EXPECT_EQ(declared(moe(6, 4, "top1", 1, "batch")), Causality::Drops);
  EXPECT_EQ(declared(moe(6, 4, "expert_choice", 1)), Causality::Selection);
  EXPECT_EQ(declared(moe(6, 4, "expert_choice", 1, "position")), Causality::Yes);
}

// One unchosen expert must not move the others: the thresholds track what training selected.
TEST(CausalMode, TakesAboutAsManyPairsAsTraining) {
  const Spec spec = block(kWidth, {moe(6, 4, "expert_choice", 2)});
  Learner learner(spec, recipe(kBatch, kSeq), kVocab, options(), builtin_catalog());
  const auto tokens = random_tokens(kBatch * kSeq, kVocab, 3);
  const auto targets = random_tokens(kBatch * kSeq, kVocab, 4);
  EXPECT_EQ(learner.read_value("stack.0.sublayer.0.moe.threshold"), std::vector<double>(4, 0.0));
  learner.gradients(tokens, targets);
  const std::vector<double> first = learner.read_value("stack.0.sublayer.0.moe.threshold");
  for (const double t : first) {
    EXPECT_GT(t, 0);
    EXPECT_LT(t, 1);
  }
  learner.gradients(tokens, targets);  // the same scores: the average stays where it is
  const std::vector<double> second = learner.read_value("stack.0.sublayer.0.moe.threshold");
  for (std::size_t e = 0; e < first.size(); ++e) EXPECT_NEAR(second[e], first[e], 1e-12);
  learner.evaluate(tokens, targets, Mode::Native);
  learner.evaluate(tokens, targets, Mode::Causal);
  EXPECT_EQ(learner.read_value("stack.0.sublayer.0.moe.threshold"), second);
}

}  // namespace
}  // namespace moebius::testing
