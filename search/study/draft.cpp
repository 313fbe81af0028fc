#include "search/study/draft.h"

#include <algorithm>
#include <utility>

namespace moebius {
namespace {

template <class Condition>
const Trial* first_trial(const std::vector<const Trial*>& trials, Condition&& condition) {
  const auto found = std::find_if(trials.begin(), trials.end(),
                                  [&](const Trial* trial) { return condition(*trial); });
  return found == trials.end() ? nullptr : *found;
}

}  // namespace

Trial Draft::make(const Spec& spec, TrialRole role, std::uint64_t seed) const {
  Trial trial;
  trial.role = role;
  trial.spec = spec;
  trial.spec_hash = spec_hash(spec);
  trial.seed = seed;
  trial.point = space_.locate(spec).value_or(Point());
  return trial;
}

std::int64_t Draft::append(Trial trial) {
  trial.number = history_.size();
  history_.add(trial);
  trials_.push_back(std::move(trial));
  return trials_.back().number;
}

std::vector<const Trial*> Draft::of_block(const std::string& spec_hash) const {
  std::vector<const Trial*> result = history_.of_block(spec_hash);
  for (const Trial& trial : trials_)
    if (trial.spec_hash == spec_hash) result.push_back(history_.find(trial.number));
  return result;
}

void Draft::baselines(const std::vector<Baseline>& baselines, std::int64_t seeds) {
  std::vector<const Trial*> known = history_.of_role(TrialRole::Baseline);
  for (std::int64_t k = 0; k < seeds; ++k)
    for (const Baseline& baseline : baselines) {
      const std::uint64_t seed = seeds_.of(TrialRole::Baseline, static_cast<std::uint64_t>(k));
      const auto is_mine = [&](const Trial& trial) { return trial.label == baseline.name; };
      const auto is_same = [&](const Trial& trial) { return is_mine(trial) && trial.seed == seed; };
      if (first_trial(known, is_same)) continue;
      Trial trial = make(baseline.spec, TrialRole::Baseline, seed);
      trial.label = baseline.name;
      if (const Trial* first = first_trial(known, is_mine)) trial.parent = first->number;
      known.push_back(history_.find(append(std::move(trial))));
    }
}

std::int64_t Draft::enqueue(const Spec& spec) {
  Trial trial = make(spec, TrialRole::Search, seeds_.of(TrialRole::Search, 0));
  const Trial* known = first_trial(of_block(trial.spec_hash), [](const Trial& other) {
    return other.role == TrialRole::Search || other.role == TrialRole::Baseline;
  });
  if (known) return known->number;
  trial.op = Operator::Enqueued;
  return append(std::move(trial));
}

std::int64_t Draft::another(const Spec& spec, TrialRole role, std::int64_t parent,
                            const std::string& label) {
  Trial trial = make(spec, role, 0);
  const std::vector<const Trial*> others = of_block(trial.spec_hash);
  std::uint64_t index = 0;
  do trial.seed = seeds_.of(role, index++);
  while (first_trial(others, [&](const Trial& other) { return other.seed == trial.seed; }));
  trial.parent = parent;
  trial.label = label;
  return append(std::move(trial));
}

void Draft::scaled(const Baseline& block) {
  const std::string hash = spec_hash(block.spec);
  const auto is_same = [](const Trial& trial) { return trial.role == TrialRole::Scaled; };
  if (!first_trial(of_block(hash), is_same)) another(block.spec, TrialRole::Scaled, -1, block.name);
}

}  // namespace moebius
