#pragma once
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "space/space.h"

namespace moebius {

// Says whether a block may be a trial of a search: bound once to all that the answer depends on.
class Judge {
 public:
  // Constraints compare costs under `rules` with those of `baseline`, blocks are trained under
  // `recipe`; without `rules` they are one. The space and the types outlive the judge.
  Judge(const Space& space, const LayerTypes& types, Recipe recipe, std::int64_t vocab,
        const std::optional<Cost>& baseline, std::optional<Recipe> rules = {});

  // "" or why the block cannot be trained under the recipe.
  std::string why_illegal(const Spec& spec) const;
  // "" or why the block may not be a search trial, with both numbers: illegal, of tokens that do
  // not mix (where the space has a type that mixes them), or out of the bounds of a constraint. A
  // step-time constraint is not judged here but by a measurement.
  std::string why_refused(const Spec& spec) const;
  // The greatest step time over the baseline's that the space allows, if it says so.
  std::optional<double> max_step_ratio() const;
  Cost cost(const Spec& spec) const;  // under the recipe that constraints are judged under
  const LayerTypes& types() const { return types_; }

  // A choice of a knob that is refused in each of many blocks that have it.
  struct Never {
    std::string pointer;     // "/knobs/heads/choices/2"
    std::string value, why;  // the last reason
  };
  // Looks for a feasible block with each choice, in so many random ones.
  std::vector<Never> never_occurring(int draws) const;

 private:
  std::string why_out_of_bounds(const Constraint& rule, const Cost& candidate) const;

  const Space& space_;
  const LayerTypes& types_;
  const Recipe recipe_, rules_;
  const std::int64_t vocab_;
  const std::optional<Cost> baseline_;
};

}  // namespace moebius
