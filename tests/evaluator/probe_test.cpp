#include "evaluator/training/probe.h"

#include "evaluator_support.h"
#include "tests/support/fake_gatings.h"

namespace moebius {
namespace {

using namespace testing_support;

// The built-in plug-ins and gatings by token id: one that minds its own token, one that looks at
// the next token, one that drops all but the last token of an expert; declared as their names say.
const Catalog& seeing_catalog() {
  static const Catalog catalog([](Catalog& all) {
    all.gatings.add("own", host_gating(by_own_id, Causality::Yes));
    all.gatings.add("next_as_yes", host_gating(by_next_id, Causality::Yes));
    all.gatings.add("next_as_drops", host_gating(by_next_id, Causality::Drops));
    all.gatings.add("next_as_selection", host_gating(by_next_id, Causality::Selection));
    all.gatings.add("last_as_yes", host_gating(last_of_own_id, Causality::Yes));
    all.gatings.add("last_as_drops", host_gating(last_of_own_id, Causality::Drops));
    const auto ranked = [&](const char* name, HostGating::Choose choose, Causality declared) {
      all.gatings.add(std::string(name) + "_ranked_by_own",
                      host_gating(choose, declared, by_own_id));
    };
    ranked("next_as_yes", by_next_id, Causality::Yes);
    ranked("next_as_drops", by_next_id, Causality::Drops);
    ranked("last_as_drops", last_of_own_id, Causality::Drops);
  });
  return catalog;
}

// [attention, a mixture of 4 experts].
Spec routed_by(const std::string& gating, const std::string& capacity = "\"none\"") {
  const std::string moe = R"({"type":"moe","d_moe":16,"experts":4,"activation":"relu","gating":")" +
                          gating + R"(","capacity":)" + capacity + "}";
  return tiny_spec(moe, seeing_catalog());
}

class Probe : public ::testing::Test {
 protected:
  Probe() {
    std::string text;
    for (int i = 0; i < 800; ++i)
      text += "what comes next is not known " + std::to_string(i) + "\n\n";
    data_ = directory_.write("text.txt", text);
  }

  Probed probe_of(const Spec& spec) const {
    const auto corpus = Corpus::open(data_, "");
    Learner learner(spec, tiny_recipe(), 256, {}, seeing_catalog());
    return probe_causality(learner, *corpus, tiny_recipe());
  }

  Outcome trial_of(const Spec& spec) const {
    EvaluatorOptions options = options_for(data_);
    options.catalog = &seeing_catalog();
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
    const Probed probed = probe_of(spec);
    EXPECT_EQ(measured_causality(probed.training), Causality::Yes);
    EXPECT_EQ(measured_causality(probed.ranked), Causality::Yes);
    for (const Causality declared : {Causality::Yes, Causality::Drops, Causality::Selection})
      EXPECT_EQ(why_not_as_declared(probed, declared), "");
  }
}

TEST_F(Probe, FindsAGatingThatLooksAtTheNextToken) {
  const Probed probed = probe_of(routed_by("next_as_yes"));
  EXPECT_EQ(measured_causality(probed.training), Causality::Selection);
  EXPECT_EQ(measured_causality(probed.ranked), Causality::Selection);
  for (const Causality declared : {Causality::Yes, Causality::Drops, Causality::Selection})
    EXPECT_NE(why_not_as_declared(probed, declared), "") << causality_text(declared);
}

TEST_F(Probe, TellsDropsFromSelection) {
  const Probed probed = probe_of(routed_by("last_as_drops"));
  EXPECT_EQ(measured_causality(probed.training), Causality::Drops);
  EXPECT_EQ(measured_causality(probed.ranked), Causality::Drops);
  const Probed in_training = {.training = probed.training, .ranked = {}};
  EXPECT_EQ(why_not_as_declared(in_training, Causality::Drops), "");
  EXPECT_NE(why_not_as_declared(in_training, Causality::Yes), "");
  EXPECT_NE(why_not_as_declared(probed, Causality::Drops), "");  // not in the mode that ranks
}

TEST_F(Probe, FindsTheSelectionOfExpertChoiceInItsTrainingModeAlone) {
  const Probed probed = probe_of(routed_by("expert_choice", "2"));
  EXPECT_EQ(measured_causality(probed.training), Causality::Selection);
  EXPECT_EQ(measured_causality(probed.ranked), Causality::Yes);
  EXPECT_EQ(why_not_as_declared(probed, Causality::Selection), "");
}

// Drops of one gating beside the selection of another hide what the selection does.
TEST_F(Probe, DropsBesideASelectionAreNoContradiction) {
  Spec mixed = routed_by("expert_choice", "2");
  const Spec dropping = routed_by("top2", "1");
  mixed.sublayers.insert(mixed.sublayers.end(), dropping.sublayers.begin(),
                         dropping.sublayers.end());
  EXPECT_EQ(stored_causality({.future = true}, Causality::Selection, true), Causality::Selection);
  const Outcome outcome = trial_of(mixed);
  EXPECT_EQ(outcome.ending, Ending::Done) << outcome.message;
  EXPECT_EQ(outcome.measurement.causal, "selection");
}

TEST_F(Probe, FindingNothingIsNoProofWherePairsWereDropped) {
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
  EXPECT_EQ(message("next_as_yes_ranked_by_own"),
            "declared causal, but a later token changed earlier logits");
  EXPECT_EQ(message("next_as_drops_ranked_by_own"),
            "declared to see the future by drops alone, but a later token changed earlier logits "
            "where nothing was dropped");
}

// Whatever is declared: also drops, which are allowed in training.
TEST_F(Probe, ATrialWhoseRankedModeSeesTheFutureIsAnErrorOfTheProgram) {
  for (const char* gating : {"next_as_yes", "next_as_selection", "last_as_yes", "last_as_drops"}) {
    const Outcome outcome = trial_of(routed_by(gating));
    EXPECT_EQ(outcome.ending, Ending::Failed) << gating;
    EXPECT_TRUE(std::isnan(outcome.measurement.loss)) << gating;
    EXPECT_EQ(outcome.message,
              "error of the program: in the evaluation that ranks, a later token changed earlier "
              "logits");
    EXPECT_EQ(outcome.measurement.ranked_causal,
              std::string(gating).starts_with("last") ? "drops" : "selection");
  }
}

// A capacity of every token for each expert drops nothing, whatever the gating declares (B14).
TEST_F(Probe, ATrialStoresWhatWasMeasured) {
  const auto causal = [&](const Spec& spec) {
    const Outcome outcome = trial_of(spec);
    EXPECT_EQ(outcome.ending, Ending::Done) << outcome.message;
    EXPECT_EQ(outcome.measurement.ranked_causal, "yes");
    return outcome.measurement.causal;
  };
  EXPECT_EQ(causal(routed_by("own")), "yes");
  EXPECT_EQ(causal(routed_by("last_as_drops_ranked_by_own")), "drops");
  EXPECT_EQ(causal(routed_by("top2", "2")), "drops");
  const Spec roomy = routed_by("top2", "4");
  EXPECT_EQ(causality(roomy, seeing_catalog().types, {4, 16, 16}), Causality::Drops);
  EXPECT_EQ(causal(roomy), "yes");
  EXPECT_EQ(causal(routed_by("expert_choice", "2")), "selection");
}

}  // namespace
}  // namespace moebius
