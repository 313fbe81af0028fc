#include "search/study/proposal.h"

#include <algorithm>
#include <utility>

#include "search/samplers/drawer.h"

namespace moebius {
namespace {

// Draws of a sampler; then uniform ones, since it may be stuck in a corner.
constexpr std::int64_t kSamplerDraws = 500;

// A baseline is not gated, so it may break a rule that its children would break too: then it is no
// parent.
bool may_breed(const ProposalContext& context, const Trial& baseline) {
  const bool slow = context.max_step_ratio > 0 && baseline.outcome &&
                    baseline.outcome->measurement.step_ratio > context.max_step_ratio;
  return !slow && context.judge.why_refused(baseline.spec).empty();
}

// The youngest `wanted` trials that the lag rule shows, oldest first: of the search trials not the
// last lag - 1, whatever trials of other roles came between.
std::vector<const Trial*> visible_trials(const ProposalContext& context, const History& history,
                                         std::size_t wanted) {
  std::int64_t hidden = context.lag - 1;
  std::vector<const Trial*> result;
  for (std::int64_t number = history.size() - 1; number >= 0 && result.size() < wanted; --number) {
    const Trial& trial = *history.find(number);
    const bool search = trial.role == TrialRole::Search;
    if (search && hidden-- > 0) continue;
    if (!trial.final() || trial.point.empty()) continue;
    const bool baseline = trial.role == TrialRole::Baseline && trial.parent < 0;
    if (search || (baseline && may_breed(context, trial))) result.push_back(&trial);
  }
  std::reverse(result.begin(), result.end());
  return result;
}

}  // namespace

Judge judge_of(const StudyConfig& config, const LayerTypes& types) {
  const Recipe& rules = config.constraints == "space" ? config.space.recipe() : config.recipe;
  std::optional<Cost> baseline;
  if (!config.baselines.empty())
    baseline = cost(config.baselines.front().spec, types, rules, config.vocab);
  return {config.space, types, config.recipe, config.vocab, baseline, rules};
}

ProposalContext proposal_context(const StudyConfig& config, const Judge& judge,
                                 const Sampler& sampler, const TrainingSeeds& seeds) {
  // Without a clock nothing but a predicted time could judge steps.
  const double max_step_ratio = config.budget.timed() ? judge.max_step_ratio().value_or(0) : 0;
  return {config.space,
          judge,
          sampler,
          config.lag,
          static_cast<std::uint64_t>(config.seed),
          seeds.of(TrialRole::Search, 0),
          max_step_ratio};
}

void check_study(const StudyConfig& config, const StudyPlugins& plugins) {
  const auto at_least = [](const char* name, std::int64_t value, std::int64_t low) {
    if (value < low)
      bad_input(name, "out of range", fmt::format("{} or more", low), std::to_string(value));
  };
  at_least("--lag", config.lag, 1);
  at_least("--trials", config.trials, 0);
  at_least("--baseline-seeds", config.baseline_seeds, 1);
  if (config.baselines.empty() && config.trials > 0 && !config.space.constraints().empty())
    bad_input("--baseline", "the constraints of the space compare with a baseline", "at least one");
  for (const Baseline& baseline : config.baselines)
    if (const std::string why = why_illegal(baseline.spec, plugins.types, config.recipe);
        !why.empty())
      bad_input(baseline.name, "cannot be trained under the recipe: " + why);
  const Judge judge = judge_of(config, plugins.types);
  for (const Spec& spec : config.seeds)
    if (const std::string why = judge.why_refused(spec); !why.empty())
      bad_input("--seed-from", "a block is infeasible: " + why);
}

void check_drawable(const StudyConfig& config, const StudyPlugins& plugins) {
  const Judge judge = judge_of(config, plugins.types);
  const auto sampler =
      plugins.samplers.get(config.sampler).make(settled_sampler_options(config, plugins.samplers));
  if (config.trials > static_cast<std::int64_t>(config.seeds.size()))
    propose_trial(proposal_context(config, judge, *sampler, TrainingSeeds({})), History());
}

ProposalResult propose_trial(const ProposalContext& context, const History& history) {
  const std::int64_t number = history.size();
  std::size_t asked = 0;
  std::vector<const Trial*> visible;
  const SamplerView view{context.space,
                         [&](std::size_t count) {
                           if (count > asked)
                             visible = visible_trials(context, history, asked = count);
                           const std::size_t left =
                               visible.size() - std::min(visible.size(), count);
                           return std::vector<const Trial*>(
                               visible.begin() + static_cast<std::ptrdiff_t>(left), visible.end());
                         },
                         history.count(TrialRole::Search),
                         [&](const Spec& spec) { return context.judge.why_refused(spec); },
                         [&](const std::string& hash) { return history.seen(hash); },
                         [&](const Spec& spec) { return context.judge.cost(spec); }};
  // Counted without re-runs, so that a study that goes on proposes as if it had not stopped.
  const std::int64_t index = history.count(TrialRole::Baseline) + history.count(TrialRole::Search);
  Rng rng = Rng(context.seed).split("propose", static_cast<std::uint64_t>(index));
  Drawn drawn = draw_new(view, [&](std::int64_t draws) {
    return draws < kSamplerDraws ? context.sampler.propose(view, rng)
                                 : Proposal{context.space.sample(rng), -1, Operator::Random};
  });
  ProposalResult result;
  result.redrawn = drawn.refused;
  if (!drawn.proposal) {
    if (drawn.known == 0)
      bad_input(
          context.space.name() + ":/constraints",
          fmt::format("0 of {} samples satisfy them; the last: {}", drawn.refused, drawn.why));
    return result;
  }
  Trial& trial = result.trial.emplace();
  trial.number = number;
  trial.role = TrialRole::Search;
  trial.point = std::move(drawn.proposal->point);
  trial.spec = std::move(drawn.spec);
  trial.spec_hash = std::move(drawn.hash);
  trial.parent = drawn.proposal->parent;
  trial.op = drawn.proposal->op;
  trial.seed = context.training_seed;
  return result;
}

}  // namespace moebius
