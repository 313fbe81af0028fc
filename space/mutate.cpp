#include <algorithm>
#include <array>
#include <functional>
#include <numeric>

#include "space/base/check.h"
#include "space/space.h"

namespace moebius {
namespace {

// The operators on one parent. Each is listed only where it can change the spec (DESIGN 3).
class Mutator {
 public:
  Mutator(const Space& space, const Point& parent, const Point& mate, Rng& rng)
      : space_(space), parent_(parent), mate_(mate), rng_(rng), spec_(space.resolve(parent)) {
    for (std::size_t s = 0; s < space.slots().size(); ++s) {
      const Knob& knob = knob_of(s);
      if (knob.choices.size() < 2 || !matters(s)) continue;
      (knob.name == "type" ? types_ : knob.ordinal ? ordered_ : unordered_).push_back(s);
    }
  }

  Mutation mutate() {
    struct Rule {
      Operator name;
      double weight;
      bool applicable;
      Point (Mutator::*apply)();
    };
    const bool uneven = std::adjacent_find(spec_.sublayers.begin(), spec_.sublayers.end(),
                                           std::not_equal_to<>()) != spec_.sublayers.end();
    const bool mated = !mate_.empty() && space_.resolve(mate_) != spec_;
    const std::array<Rule, 6> operators = {{
        {Operator::Nudge, .35, !ordered_.empty(), &Mutator::nudge},
        {Operator::Resample, .15, !unordered_.empty(), &Mutator::resample},
        {Operator::Retype, .20, !types_.empty(), &Mutator::retype},
        {Operator::Move, .15, uneven, &Mutator::move},
        {Operator::Swap, .05, uneven, &Mutator::swap},
        {Operator::Crossover, .10, mated, &Mutator::crossover},
    }};
    double total = 0;
    for (const Rule& each : operators) total += each.applicable ? each.weight : 0;
    if (total == 0)
      bad_input(space_.name(), "the space holds one block only; nothing can be mutated");

    double left = rng_.uniform() * total;
    const Rule* chosen = nullptr;
    for (const Rule& each : operators) {
      if (!each.applicable) continue;
      chosen = &each;
      left -= each.weight;
      if (left < 0) break;
    }
    constexpr int kMostDraws = 100'000;  // moves of equal neighbours and copies of the parent
    for (int draw = 0; draw < kMostDraws; ++draw) {
      Point child = (this->*chosen->apply)();
      if (space_.resolve(child) != spec_) return {child, chosen->name};
    }
    MOEBIUS_CHECK(false, "[mutate] {} never changed the block in {} draws",
                  operator_text(chosen->name), kMostDraws);
  }

 private:
  const Knob& knob_of(std::size_t s) const { return space_.knobs()[space_.slots()[s].knob]; }

  // Whether the slot sets anything in the parent's spec: knobs of absent types do not.
  bool matters(std::size_t s) const {
    const Knob& knob = knob_of(s);
    if (knob.name == "type" || knob.name == "d_model") return true;
    const auto has = [&](const SubLayer& sublayer) { return sublayer.fields.contains(knob.name); };
    if (knob.per_sublayer) return has(spec_.sublayers[space_.slots()[s].position]);
    return std::any_of(spec_.sublayers.begin(), spec_.sublayers.end(), has);
  }

  std::size_t pick(const std::vector<std::size_t>& slots) {
    return slots[rng_.below(slots.size())];
  }

  Point nudge() {
    Point child = parent_;
    const std::size_t s = pick(ordered_);
    const auto last = static_cast<std::int32_t>(knob_of(s).choices.size()) - 1;
    const bool up = child[s] == 0 || (child[s] < last && rng_.below(2) == 0);
    child[s] += up ? 1 : -1;
    return child;
  }

  // Another choice, all equally likely.
  Point redraw(const std::vector<std::size_t>& slots) {
    Point child = parent_;
    const std::size_t s = pick(slots);
    const std::size_t count = knob_of(s).choices.size();
    const std::size_t step = 1 + rng_.below(count - 1);
    child[s] = static_cast<std::int32_t>((static_cast<std::size_t>(child[s]) + step) % count);
    return child;
  }
  Point resample() { return redraw(unordered_); }
  Point retype() { return redraw(types_); }

  // The sub-layer at position i becomes the parent's at order[i].
  Point reorder(const std::vector<std::size_t>& order) const {
    Point child = parent_;
    for (std::size_t s = 0; s < child.size(); ++s) {
      const std::size_t i = space_.slots()[s].position;
      if (knob_of(s).per_sublayer) child[s] = parent_[s - i + order[i]];
    }
    return child;
  }

  std::vector<std::size_t> identity() const {
    std::vector<std::size_t> order(spec_.sublayers.size());
    std::iota(order.begin(), order.end(), 0);
    return order;
  }

  Point move() {
    std::vector<std::size_t> order = identity();
    const std::size_t from = rng_.below(order.size()), to = rng_.below(order.size());
    const std::size_t moved = order[from];
    order.erase(order.begin() + static_cast<std::ptrdiff_t>(from));
    order.insert(order.begin() + static_cast<std::ptrdiff_t>(to), moved);
    return reorder(order);
  }

  Point swap() {
    std::vector<std::size_t> order = identity();
    std::swap(order[rng_.below(order.size())], order[rng_.below(order.size())]);
    return reorder(order);
  }

  // Sub-layers before a cut from one of the two and the rest from the other; every block-wide knob
  // from either.
  Point crossover() {
    const std::size_t cut = rng_.below(spec_.sublayers.size() + 1);
    const bool mate_first = rng_.below(2) == 1;
    Point child = parent_;
    for (std::size_t s = 0; s < child.size(); ++s) {
      const bool before = space_.slots()[s].position < cut;
      const bool from_mate = knob_of(s).per_sublayer ? before == mate_first : rng_.below(2) == 1;
      if (from_mate) child[s] = mate_[s];
    }
    return child;
  }

  const Space& space_;
  const Point& parent_;
  const Point& mate_;
  Rng& rng_;
  Spec spec_;
  std::vector<std::size_t> ordered_, unordered_, types_;  // slots that can change the spec
};

}  // namespace

Mutation Space::mutate(const Point& parent, const Point& mate, Rng& rng) const {
  return Mutator(*this, parent, mate, rng).mutate();
}

}  // namespace moebius
