#pragma once
#include <cstdint>
#include <optional>

#include "search/study/plugin_options.h"
#include "search/study/seeds.h"
#include "space/judge.h"

namespace moebius {

// What a study asks its sampler with.
struct ProposalContext {
  const Space& space;
  const Judge& judge;
  const Sampler& sampler;
  std::int64_t lag = 4;
  std::uint64_t seed = 0;  // of the study
  std::uint64_t training_seed = 0;
  double max_step_ratio = 0;  // the step-time constraint where budgets have a clock; 0 = none
};

// The judge of a study's blocks: it lives no longer than the config.
Judge judge_of(const StudyConfig& config, const LayerTypes& types);
ProposalContext proposal_context(const StudyConfig& config, const Judge& judge,
                                 const Sampler& sampler, const TrainingSeeds& seeds);
// Error(BadInput) when a study cannot be run: values out of range, a baseline that is illegal under
// the recipe, blocks to try first that the constraints refuse.
void check_study(const StudyConfig& config, const StudyPlugins& plugins);
// Error(BadInput) when the constraints refuse a whole space, so that no block can be drawn.
void check_drawable(const StudyConfig& config, const StudyPlugins& plugins);

struct ProposalResult {
  std::optional<Trial> trial;  // absent: nothing new was found, the space is exhausted
  std::int64_t redrawn = 0;    // draws that the static rules refused
};

// The search trial with the next number: a pure function of the context, the specs of all trials in
// `history` and the results of those that the lag rule shows (study.h). Draws that are infeasible
// or known are drawn again. Error(BadInput) when no draw is feasible.
ProposalResult propose_trial(const ProposalContext& context, const History& history);

}  // namespace moebius
