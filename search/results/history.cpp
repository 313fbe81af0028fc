#include "search/results/history.h"

#include <array>
#include <cmath>
#include <limits>
#include <utility>

#include "space/base/check.h"

namespace moebius {
namespace {

constexpr std::array<std::pair<TrialState, const char*>, 8> kStates = {{
    {TrialState::Waiting, "waiting"},
    {TrialState::Running, "running"},
    {TrialState::Done, "done"},
    {TrialState::Pruned, "pruned"},
    {TrialState::Diverged, "diverged"},
    {TrialState::Infeasible, "infeasible"},
    {TrialState::OutOfMemory, "out_of_memory"},
    {TrialState::Failed, "failed"},
}};

constexpr std::array<std::pair<TrialRole, const char*>, 6> kRoles = {{
    {TrialRole::Baseline, "baseline"},
    {TrialRole::Search, "search"},
    {TrialRole::Rerun, "rerun"},
    {TrialRole::Noise, "noise"},
    {TrialRole::Control, "control"},
    {TrialRole::Scaled, "scaled"},
}};

// Groups of the ranking: finished, pruned, the rest.
int rank_class(const Trial& trial) {
  if (!std::isnan(trial.loss())) return 0;
  return trial.state == TrialState::Pruned ? 1 : 2;
}

double ranking_loss(const Trial& trial) {
  switch (rank_class(trial)) {
    case 0:
      return trial.loss();
    case 1: {
      const double stopped = trial.outcome ? trial.outcome->measurement.stopped_loss : NAN;
      return std::isnan(stopped) ? std::numeric_limits<double>::infinity() : stopped;
    }
    default:
      return 0;
  }
}

}  // namespace

std::string state_text(TrialState state) {
  for (const auto& [value, text] : kStates)
    if (value == state) return text;
  throw Error(Exit::Bug, "[history] a trial state without a name");
}

TrialState parse_state(const std::string& text) {
  for (const auto& [value, name] : kStates)
    if (text == name) return value;
  throw Error(Exit::Storage, "unknown trial state '" + text + "'");
}

std::string role_text(TrialRole role) {
  for (const auto& [value, text] : kRoles)
    if (value == role) return text;
  throw Error(Exit::Bug, "[history] a role without a name");
}

TrialRole parse_role(const std::string& text) {
  for (const auto& [value, name] : kRoles)
    if (text == name) return value;
  throw Error(Exit::Storage, "unknown role '" + text + "'");
}

bool is_final(TrialState state) {
  return state != TrialState::Waiting && state != TrialState::Running;
}

double Trial::loss() const {
  return state == TrialState::Done && outcome ? outcome->measurement.loss
                                              : std::numeric_limits<double>::quiet_NaN();
}

const Trial* History::find(std::int64_t number) const {
  const bool known = number >= 0 && number < static_cast<std::int64_t>(trials_.size());
  return known ? &trials_[static_cast<std::size_t>(number)] : nullptr;
}

void History::add(Trial trial) {
  MOEBIUS_CHECK(trial.number == static_cast<std::int64_t>(trials_.size()),
                "[history] trial {} appended after {} trials", trial.number, trials_.size());
  if (trial.role == TrialRole::Baseline || trial.role == TrialRole::Search)
    hashes_.insert(trial.spec_hash);
  ++counts_[trial.role];
  trials_.push_back(std::move(trial));
  update(trials_.back());
}

void History::update(const Trial& trial) {
  MOEBIUS_CHECK(find(trial.number) != nullptr, "[history] no trial {} among {}", trial.number,
                trials_.size());
  Trial& known = trials_[static_cast<std::size_t>(trial.number)];
  if (&known != &trial) known = trial;
  while (open_ < static_cast<std::int64_t>(trials_.size()) && find(open_)->final()) ++open_;
}

bool History::seen(const std::string& spec_hash) const { return hashes_.count(spec_hash) > 0; }

std::int64_t History::count(TrialRole role) const {
  const auto found = counts_.find(role);
  return found == counts_.end() ? 0 : found->second;
}

bool ranks_before(const Trial& left, const Trial& right) {
  const int left_class = rank_class(left), right_class = rank_class(right);
  if (left_class != right_class) return left_class < right_class;
  const double left_loss = ranking_loss(left), right_loss = ranking_loss(right);
  if (left_loss != right_loss) return left_loss < right_loss;
  return left.number < right.number;
}

}  // namespace moebius
