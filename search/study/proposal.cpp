#include "search/study/proposal.h"

namespace moebius {
namespace {

constexpr std::int64_t kMaxKnown = 1000;  // known blocks drawn in a row: the space is exhausted
constexpr std::int64_t kMaxInfeasible = 100'000;
constexpr std::int64_t kSamplerDraws =
    500;  // then uniform ones: a sampler may be stuck in a corner

// A baseline is not gated, so it may break a rule that its children would break too: then it is no
// parent.
bool may_breed(const ProposalContext& context, const Trial& baseline) {
  const bool slow = context.max_step_ratio > 0 && baseline.outcome &&
                    baseline.outcome->measurement.step_ratio > context.max_step_ratio;
  return !slow && why_refused(context, baseline.spec).empty();
}

std::vector<const Trial*> visible_trials(const ProposalContext& context, const History& history,
                                         std::int64_t last) {
  std::vector<const Trial*> result;
  for (const Trial& trial : history.trials()) {
    if (!trial.final() || trial.point.empty()) continue;
    const bool baseline = trial.role == TrialRole::Baseline && trial.parent < 0;
    const bool search = trial.role == TrialRole::Search && trial.number <= last;
    if (search || (baseline && may_breed(context, trial))) result.push_back(&trial);
  }
  return result;
}

}  // namespace

std::string why_refused(const ProposalContext& context, const Spec& spec) {
  const std::string illegal = why_illegal(spec, context.types, context.recipe);
  if (!illegal.empty()) return illegal;
  return why_infeasible(context.space, spec, context.baseline, context.types, context.vocab);
}

ProposalResult propose_trial(const ProposalContext& context, const History& history) {
  const auto number = static_cast<std::int64_t>(history.trials().size());
  const std::vector<const Trial*> visible = visible_trials(context, history, number - context.lag);
  const SamplerView view{context.space, visible, history.count(TrialRole::Search), context.trials};
  Rng rng = Rng(context.seed).split("propose", static_cast<std::uint64_t>(number));
  ProposalResult result;
  std::int64_t known = 0;
  std::string reason;
  while (known < kMaxKnown && result.redrawn < kMaxInfeasible) {
    Proposal proposal = known + result.redrawn < kSamplerDraws
                            ? context.sampler.propose(view, rng)
                            : Proposal{context.space.sample(rng), -1, Operator::Random};
    Spec spec = context.space.resolve(proposal.point);
    if (std::string why = why_refused(context, spec); !why.empty()) {
      ++result.redrawn;
      reason = std::move(why);
      continue;
    }
    std::string hash = spec_hash(spec);
    if (history.seen(hash)) {
      ++known;
      continue;
    }
    Trial& trial = result.trial.emplace();
    trial.number = number;
    trial.role = TrialRole::Search;
    trial.point = std::move(proposal.point);
    trial.spec = std::move(spec);
    trial.spec_hash = std::move(hash);
    trial.parent = proposal.parent;
    trial.op = proposal.op;
    trial.seed = context.seed;
    return result;
  }
  if (known == 0)
    bad_input(context.space.name() + ":/constraints",
              fmt::format("0 of {} samples satisfy them; the last: {}", result.redrawn, reason));
  return result;
}

}  // namespace moebius
