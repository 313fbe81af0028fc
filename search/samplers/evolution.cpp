#include <algorithm>
#include <utility>
#include <vector>

#include "search/samplers/sampler.h"

namespace moebius {
namespace {

using Population = std::vector<const Trial*>;

// Those of the youngest `size` trials that may have children. Age, not loss, ends a trial's
// membership, so that a lucky loss does not breed for ever (1802.01548, section 3); trials that
// failed count too, or a parent all of whose children fail would never leave.
Population parents(const SamplerView& view, std::size_t size) {
  Population result = view.youngest(size);
  std::erase_if(result, [](const Trial* trial) {
    return trial->state != TrialState::Done && trial->state != TrialState::Pruned;
  });
  return result;
}

// The best of `entrants` distinct members.
const Trial* tournament(Population members, std::size_t entrants, Rng& rng) {
  const Trial* best = nullptr;
  for (std::size_t i = 0; i < std::min(entrants, members.size()); ++i) {
    std::swap(members[i], members[i + rng.below(members.size() - i)]);
    if (best == nullptr || ranks_before(*members[i], *best)) best = members[i];
  }
  return best;
}

// Regularised evolution. Pruned trials may be parents, ranked behind every finished one; those
// without any loss (diverged, infeasible, ..) may not. Without a parent the next point is random.
class Evolution : public Sampler {
 public:
  explicit Evolution(std::int64_t population) : size_(population) {}

  Proposal propose(const SamplerView& view, Rng& rng) const override {
    const std::size_t entrants = static_cast<std::size_t>(std::max<std::int64_t>(2, size_ / 4));
    const Population members = parents(view, static_cast<std::size_t>(size_));
    if (view.index < size_ || members.empty())
      return {view.space.sample(rng), -1, Operator::Random};
    const Trial* parent = tournament(members, entrants, rng);
    const Trial* mate = tournament(members, entrants, rng);
    Proposal child;
    child.parent = parent->number;
    const Mutation mutation = view.space.mutate(
        parent->point, mate->spec_hash == parent->spec_hash ? Point{} : mate->point, rng);
    child.point = mutation.child;
    child.op = mutation.op;
    return child;
  }

 private:
  const std::int64_t size_;  // of the population
};

Fields defaults(std::int64_t trials) {
  return {{"population", std::clamp<std::int64_t>(trials / 5, 4, 32)}};
}

}  // namespace

SamplerPlugin samplers_evolution() {
  const Field population = {.name = "population",
                            .low = 2,
                            .high = 10'000,
                            .help = "youngest trials that breed; a fifth of the first --trials"};
  return {.help = "regularised (ageing) evolution over the youngest trials",
          .options = {population},
          .defaults = defaults,
          .make = [](const Fields& options) {
            return std::make_unique<Evolution>(integer(options, "population"));
          }};
}

}  // namespace moebius
