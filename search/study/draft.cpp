#include "search/study/draft.h"

#include <algorithm>
#include <utility>

namespace moebius {
namespace {

template <class Condition>
const Trial* first_trial(const History& history, Condition&& condition) {
  const auto found = std::find_if(history.trials().begin(), history.trials().end(), condition);
  return found == history.trials().end() ? nullptr : &*found;
}

}  // namespace

Trial Draft::make(const Spec& spec, TrialRole role, std::uint64_t seed) const {
  Trial trial;
  trial.role = role;
  trial.spec = spec;
  trial.spec_hash = spec_hash(spec);
  trial.seed = seed;
  if (!space_.locate(spec, trial.point)) trial.point.clear();
  return trial;
}

std::int64_t Draft::append(Trial trial) {
  trial.number = static_cast<std::int64_t>(history_.trials().size());
  history_.add(trial);
  trials_.push_back(std::move(trial));
  return trials_.back().number;
}

void Draft::baselines(const std::vector<Baseline>& baselines, std::int64_t seeds) {
  for (std::int64_t k = 0; k < seeds; ++k)
    for (const Baseline& baseline : baselines) {
      const std::uint64_t seed = study_seed_ + static_cast<std::uint64_t>(k);
      const auto is_mine = [&](const Trial& trial) {
        return trial.role == TrialRole::Baseline && trial.label == baseline.name;
      };
      const auto is_same = [&](const Trial& trial) { return is_mine(trial) && trial.seed == seed; };
      if (first_trial(history_, is_same)) continue;
      Trial trial = make(baseline.spec, TrialRole::Baseline, seed);
      trial.label = baseline.name;
      if (const Trial* first = first_trial(history_, is_mine)) trial.parent = first->number;
      append(std::move(trial));
    }
}

std::int64_t Draft::enqueue(const Spec& spec) {
  Trial trial = make(spec, TrialRole::Search, study_seed_);
  const Trial* known = first_trial(history_, [&](const Trial& other) {
    return other.spec_hash == trial.spec_hash &&
           (other.role == TrialRole::Search || other.role == TrialRole::Baseline);
  });
  if (known) return known->number;
  trial.op = Operator::Enqueued;
  return append(std::move(trial));
}

std::int64_t Draft::another(const Spec& spec, TrialRole role, std::int64_t parent,
                            const std::string& label) {
  Trial trial = make(spec, role, study_seed_);
  for (const Trial& other : history_.trials())
    if (other.spec_hash == trial.spec_hash && other.seed - study_seed_ >= trial.seed - study_seed_)
      trial.seed = other.seed + 1;
  trial.parent = parent;
  trial.label = label;
  return append(std::move(trial));
}

void Draft::scaled(const Baseline& block) {
  const std::string hash = spec_hash(block.spec);
  const auto is_same = [&](const Trial& trial) {
    return trial.role == TrialRole::Scaled && trial.spec_hash == hash;
  };
  if (!first_trial(history_, is_same)) another(block.spec, TrialRole::Scaled, -1, block.name);
}

}  // namespace moebius
