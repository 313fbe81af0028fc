#include "evaluator/training/probe.h"

#include "evaluator_support.h"
#include "tests/support/fake_gatings.h"

namespace moebius {
namespace {

using namespace testing_support;

// The built-in plug-ins and gatings by token id: one that minds its own token, one that looks at
// the next token, one that drops all but the last token of an expert; declared as their names say.
const Catalog& leaky_catalog() {
  static const Catalog catalog([](Catalog& all) {
    all.gatings.add("own", host_gating(by_own_id, Causality::Yes));
    all.gatings.add("next_as_yes", host_gating(by_next_id, Causality::Yes));
    all.gatings.add("next_as_drops", host_gating(by_next_id, Causality::Drops));
    all.gatings.add("next_as_selection", host_gating(by_next_id, Causality::Selection));
    all.gatings.add("last_as_yes", host_gating(last_of_own_id, Causality::Yes));
    all.gatings.add("last_as_drops", host_gating(last_of_own_id, Causality::Drops));
  });
  return catalog;
}

// [attention, a mixture of 4 experts].
Spec routed_by(const std::string& gating, const std::string& capacity = "\"none\"") {
  const std::string moe = R"({"type":"moe","d_moe":16,"experts":4,"activation":"relu","gating":")" +
                          gating + R"(","capacity":)" + capacity + "}";
  return tiny_spec(moe, leaky_catalog());
}

class Probe : public ::testing::Test {
 protected:
  Probe() {
    std::string text;
    for (int i = 0; i < 800; ++i)
      text += "what comes next is not known " + std::to_string(i) + "\n\n";
    data_ = directory_.write("text.txt", text);
  }

  Leaks leaks_of(const Spec& spec) const {
    const auto corpus = Corpus::open(data_, "");
    Learner learner(spec, tiny_recipe(), 256, {}, leaky_catalog());
    return probe_causality(learner, *corpus, tiny_recipe());
  }

  Outcome trial_of(const Spec& spec) const {
    EvaluatorOptions options = options_for(data_);
    options.catalog = &leaky_catalog();
    Candidate candidate = tiny_candidate(20);
    candidate.spec = spec;
    Observer observer;
    return evaluators().get("proxy").make(options)->evaluate(candidate, observer);
  }

  Folder directory_;
  std::string data_;
};

TEST_F(Probe, FindsNothingWhereNoTokenSeesTheFuture) {
  for (const Spec& spec : {tiny_spec(), routed_by("own"), routed_by("top2")}) {
    const Leaks leaks = leaks_of(spec);
    EXPECT_FALSE(leaks.native || leaks.causal || leaks.without_drops());
    EXPECT_EQ(measured_causality(leaks), Causality::Yes);
    for (const Causality declared : {Causality::Yes, Causality::Drops, Causality::Selection})
      EXPECT_EQ(why_not_as_declared(leaks, declared), "");
  }
}

TEST_F(Probe, FindsAGatingThatLooksAtTheNextToken) {
  const Leaks leaks = leaks_of(routed_by("next_as_yes"));
  EXPECT_TRUE(leaks.native && leaks.causal && leaks.without_drops());
  EXPECT_EQ(measured_causality(leaks), Causality::Selection);
  for (const Causality declared : {Causality::Yes, Causality::Drops, Causality::Selection})
    EXPECT_NE(why_not_as_declared(leaks, declared), "") << causality_text(declared);
}

TEST_F(Probe, TellsDropsFromOtherLeaks) {
  const Leaks leaks = leaks_of(routed_by("last_as_drops"));
  EXPECT_TRUE(leaks.native && leaks.causal);
  EXPECT_FALSE(leaks.without_drops());
  EXPECT_EQ(measured_causality(leaks), Causality::Drops);
  EXPECT_EQ(why_not_as_declared(leaks, Causality::Drops), "");
  EXPECT_NE(why_not_as_declared(leaks, Causality::Yes), "");
}

TEST_F(Probe, FindsTheSelectionOfExpertChoiceInItsTrainingModeAlone) {
  const Leaks leaks = leaks_of(routed_by("expert_choice", "2"));
  EXPECT_TRUE(leaks.native && leaks.without_drops());
  EXPECT_FALSE(leaks.causal);
  EXPECT_EQ(measured_causality(leaks), Causality::Selection);
  EXPECT_EQ(why_not_as_declared(leaks, Causality::Selection), "");
}

// Drops of one gating beside the selection of another: allowed in the mode that ranks, and they
// hide what the selection does.
TEST_F(Probe, DropsBesideASelectionAreNoContradiction) {
  Spec mixed = routed_by("expert_choice", "2");
  const Spec dropping = routed_by("top2", "1");
  mixed.sublayers.insert(mixed.sublayers.end(), dropping.sublayers.begin(),
                         dropping.sublayers.end());
  const Leaks leaks = {.native = true, .causal = true};
  EXPECT_EQ(why_not_as_declared(leaks, Causality::Selection), "");
  EXPECT_EQ(stored_causality(leaks, Causality::Selection, true), Causality::Selection);
  const Outcome outcome = trial_of(mixed);
  EXPECT_EQ(outcome.ending, Ending::Done) << outcome.message;
  EXPECT_EQ(outcome.measurement.causal, "selection");
}

TEST_F(Probe, FindingNoLeakIsNoProofWherePairsWereDropped) {
  EXPECT_EQ(stored_causality({}, Causality::Drops, true), Causality::Drops);
  EXPECT_EQ(stored_causality({}, Causality::Selection, true), Causality::Drops);
  EXPECT_EQ(stored_causality({}, Causality::Drops, false), Causality::Yes);
  EXPECT_EQ(stored_causality({}, Causality::Yes, true), Causality::Yes);
}

TEST_F(Probe, ATrialThatContradictsItsDeclarationFails) {
  const auto message = [&](const std::string& gating) {
    const Outcome outcome = trial_of(routed_by(gating));
    EXPECT_EQ(outcome.ending, Ending::Failed) << gating;
    EXPECT_TRUE(std::isnan(outcome.measurement.loss)) << gating;
    return outcome.message;
  };
  const std::string yes = "declared causal, but a later token changed earlier logits";
  EXPECT_EQ(message("next_as_yes"), yes);
  EXPECT_EQ(message("last_as_yes"), yes);
  EXPECT_EQ(
      message("next_as_drops"),
      "declared to leak by drops alone, but a later token changed earlier logits where nothing "
      "was dropped");
  EXPECT_EQ(message("next_as_selection"),
            "its causal evaluation let a later token change earlier logits");
}

// A capacity of every token for each expert drops nothing, whatever the gating declares (B14).
TEST_F(Probe, ATrialStoresWhatWasMeasured) {
  const auto causal = [&](const Spec& spec) {
    const Outcome outcome = trial_of(spec);
    EXPECT_EQ(outcome.ending, Ending::Done) << outcome.message;
    return outcome.measurement.causal;
  };
  EXPECT_EQ(causal(routed_by("own")), "yes");
  EXPECT_EQ(causal(routed_by("last_as_drops")), "drops");
  EXPECT_EQ(causal(routed_by("top2", "2")), "drops");
  const Spec roomy = routed_by("top2", "4");
  EXPECT_EQ(causality(roomy, leaky_catalog().types, {4, 16, 16}), Causality::Drops);
  EXPECT_EQ(causal(roomy), "yes");
  EXPECT_EQ(causal(routed_by("expert_choice", "2")), "selection");
}

}  // namespace
}  // namespace moebius
