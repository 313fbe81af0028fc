#pragma once
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "evaluator/evaluator.h"
#include "space/space.h"

namespace moebius {

enum class TrialState { Waiting, Running, Done, Pruned, Diverged, Infeasible, OutOfMemory, Failed };
std::string state_text(TrialState state);
TrialState parse_state(const std::string& text);
bool is_final(TrialState state);
std::vector<TrialState> trial_states();  // all there are

// Why a trial is there: to compare with, proposed or enqueued, another seed of a finalist, another
// seed of any block, an equal-cost control, a block of another study at this one's size.
enum class TrialRole { Baseline, Search, Rerun, Noise, Control, Scaled };
std::string role_text(TrialRole role);  // "baseline", "search", ..
TrialRole parse_role(const std::string& text);
std::vector<TrialRole> trial_roles();  // all there are

struct Trial {
  std::int64_t number = 0;  // within the study, 0-based, contiguous
  TrialRole role = TrialRole::Search;
  std::string label;  // baseline name; what a scaled trial was scaled from ("t12-micro"); or ""
  TrialState state = TrialState::Waiting;
  std::int64_t attempt = 0;  // of the last claim
  Point point;               // empty for specs outside the space
  Spec spec;
  std::string spec_hash;
  std::int64_t parent = -1;  // number, -1 = none
  Operator op = Operator::None;
  std::uint64_t seed = 0;
  std::optional<Budget> budget;    // where it differs from the study's
  std::optional<Recipe> recipe;    // the same
  std::string owner;               // of the last claim: "HOST:PID", or "service" (asked by hand)
  std::optional<Outcome> outcome;  // once final
  // The loss that ranks: NaN unless Done.
  double loss() const;
  bool final() const { return is_final(state); }
};

// By field name; null = not measured.
Json to_json(const Measurement& measurement);

using TrialPtr = std::shared_ptr<const Trial>;

// DESIGN 4: finished ones by loss, then pruned by stopped loss, then the rest; number breaks ties.
// NaN never ranks.
bool ranks_before(const Trial& left, const Trial& right);

}  // namespace moebius
