#include "search/results/trial.h"

#include <array>
#include <cmath>
#include <limits>
#include <type_traits>
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

std::vector<TrialState> trial_states() {
  std::vector<TrialState> states;
  for (const auto& entry : kStates) states.push_back(entry.first);
  return states;
}

std::vector<TrialRole> trial_roles() {
  std::vector<TrialRole> roles;
  for (const auto& entry : kRoles) roles.push_back(entry.first);
  return roles;
}

std::string state_text(TrialState state) {
  for (const auto& [value, text] : kStates)
    if (value == state) return text;
  throw Error(Exit::Bug, "[trial] a trial state without a name");
}

TrialState parse_state(const std::string& text) {
  for (const auto& [value, name] : kStates)
    if (text == name) return value;
  throw Error(Exit::Storage, "unknown trial state '" + text + "'");
}

std::string role_text(TrialRole role) {
  for (const auto& [value, text] : kRoles)
    if (value == role) return text;
  throw Error(Exit::Bug, "[trial] a role without a name");
}

TrialRole parse_role(const std::string& text) {
  for (const auto& [value, name] : kRoles)
    if (text == name) return value;
  throw Error(Exit::Storage, "unknown role '" + text + "'");
}

bool is_final(TrialState state) {
  return state != TrialState::Waiting && state != TrialState::Running;
}

Json to_json(const Measurement& measurement) {
  Json json = Json::object();
  for_each_field(measurement, [&](const MeasurementField& field, const auto& value) {
    if constexpr (std::is_same_v<decltype(value), const double&>)
      json[field.name] = or_null(value);
    else
      json[field.name] = value;
  });
  return json;
}

double Trial::loss() const {
  return state == TrialState::Done && outcome ? outcome->measurement.loss
                                              : std::numeric_limits<double>::quiet_NaN();
}

bool ranks_before(const Trial& left, const Trial& right) {
  const int left_class = rank_class(left), right_class = rank_class(right);
  if (left_class != right_class) return left_class < right_class;
  const double left_loss = ranking_loss(left), right_loss = ranking_loss(right);
  if (left_loss != right_loss) return left_loss < right_loss;
  return left.number < right.number;
}

}  // namespace moebius
