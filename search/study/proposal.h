#pragma once
#include <cstdint>
#include <optional>

#include "search/samplers/sampler.h"
#include "space/cost.h"

namespace moebius {

// What a study asks its sampler with.
struct ProposalContext {
  const Space& space;
  const LayerTypes& types;
  const Recipe& recipe;
  const Cost& baseline;  // of the gate baseline: what constraints compare with
  const Sampler& sampler;
  std::int64_t vocab = 0;
  std::int64_t lag = 4;
  std::int64_t trials = 0;    // search trials wanted
  std::uint64_t seed = 0;     // of the study
  double max_step_ratio = 0;  // the step-time constraint where budgets have a clock; 0 = none
};

struct ProposalResult {
  std::optional<Trial> trial;  // absent: nothing new was found, the space is exhausted
  std::int64_t redrawn = 0;    // draws that the static rules refused
};

// The search trial with the next number: a pure function of the context, the specs of all trials in
// `history` and the results of those that the lag rule shows (study.h). Draws that are infeasible
// or known are drawn again. Error(BadInput) when no draw is feasible.
ProposalResult propose_trial(const ProposalContext& context, const History& history);

// "" or why a block may not be a search trial.
std::string why_refused(const ProposalContext& context, const Spec& spec);

}  // namespace moebius
