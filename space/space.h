#pragma once
#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "space/base/rng.h"
#include "space/constraint.h"
#include "space/cost.h"
#include "space/operators.h"
#include "space/recipe.h"
#include "space/spec.h"

namespace moebius {

// One finite choice. Per block it has one slot in a point, per sub-layer one slot for each of the k
// positions.
struct Knob {
  std::string name;
  bool per_sublayer = false;
  std::vector<Value> choices;
  bool ordinal = false;  // all choices are numbers in rising order: `nudge` moves to a neighbour
};

// An assignment of every knob: the index of the choice, slot by slot (Space::slots). Samplers see
// only points.
using Point = std::vector<std::int32_t>;

struct Slot {
  std::size_t knob = 0;      // index into Space::knobs
  std::size_t position = 0;  // sub-layer, for per-sub-layer knobs
};

struct Mutation {
  Point child;
  Operator op = Operator::None;
};

struct SpaceSize {
  double points = 0;    // exact up to 2^53; 30,233,088 in the paper's space
  double distinct = 0;  // distinct specs, 27,427,737: knobs of absent types do nothing
};

// What may be built, as data (JSON "moebius.space/1", DESIGN 3). Immutable after reading. A knob or
// a fixed value named x sets field x of every sub-layer type that declares it; "type" and "d_model"
// set the sub-layer's type and the width.
class Space {
 public:
  // Error(BadInput) with every independent problem of the document.
  static Space read(const Json& document, const std::string& file, const LayerTypes& types);

  const std::string& name() const { return name_; }
  // Row of the scale table that baselines are resolved against; "" when no baseline needs one.
  const std::string& scale() const { return scale_; }
  std::int64_t sublayers() const { return sublayers_; }
  std::int64_t stacks() const { return stacks_; }
  const std::vector<Knob>& knobs() const { return knobs_; }
  const std::vector<Slot>& slots() const { return slots_; }
  const Recipe& recipe() const { return recipe_; }
  const std::vector<Constraint>& constraints() const { return constraints_; }
  // Names or files of baseline blocks; the first is the one that gates compare with.
  const std::vector<std::string>& baselines() const { return baselines_; }
  const Json& document() const { return document_; }  // as read, for the database
  std::string hash() const;                           // without the recipe
  const std::vector<std::string>& type_names() const { return type_names_; }  // that may occur

  SpaceSize size() const;
  Spec resolve(const Point& point) const;
  // The point of a spec; none when the spec is not in the space (then it may be a baseline, never a
  // parent).
  std::optional<Point> locate(const Spec& spec) const;

  Point sample(Rng& rng) const;  // uniform over points; not checked for feasibility

  // One mutation by the operator table of DESIGN 3 (nudge .35, resample .15, retype .20, move .15,
  // swap .05, crossover .10, renormalised over those applicable), repeated until the spec differs
  // from the parent's. `mate` (may be empty) enables crossover.
  Mutation mutate(const Point& parent, const Point& mate, Rng& rng) const;

 private:
  friend class SpaceReader;
  // Where in a point the choice of a knob at a position stands.
  std::size_t slot(std::size_t knob, std::size_t position) const;
  // What a point, or else `fixed_`, gives the field `name` of the sub-layer at a position; nullptr
  // when neither does.
  const Value* value(const Point& point, const std::string& name, std::size_t position) const;

  std::string name_, scale_;
  std::int64_t sublayers_ = 0, stacks_ = 1;
  std::vector<Knob> knobs_;
  std::vector<Slot> slots_;
  Fields fixed_;
  Recipe recipe_;
  std::vector<Constraint> constraints_;
  std::vector<std::string> baselines_, type_names_;
  Json document_;
  const LayerTypes* types_ = nullptr;  // outlives the space
};

// The block that one of space.baselines() names, at the space's scale.
Spec space_baseline(const Space& space, const std::string& name, const LayerTypes& types);

// V where nothing else says one: of the space's row of the scale table; bytes without a row.
std::int64_t default_vocab(const Space& space);

// A preset ("brainformer-nano") or a file.
Space load_space(const std::string& name_or_file, const LayerTypes& types);
std::vector<std::string> space_presets();

// Differences between two documents, one line each: "/knobs/heads/choices/1: 4 -> 8".
std::vector<std::string> diff(const Json& left, const Json& right);

}  // namespace moebius
