#pragma once
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "search/results/history.h"
#include "space/space.h"

namespace moebius {

struct Proposal {
  Point point;
  std::int64_t parent = -1;  // trial number
  Operator op = Operator::None;
};

// What a sampler may look at when it proposes trial `number`: the specs of all trials before it,
// but the *results* only of trials <= number - lag. The study hands in a view that enforces this,
// so any number of workers gives the same search.
struct SamplerView {
  const Space& space;
  // The youngest `count` of what may be looked at, by number: baselines (first seeds) that keep the
  // constraints, and search trials <= number - lag, all final and in the space.
  std::function<std::vector<const Trial*>(std::size_t count)> youngest;
  std::int64_t index = 0;  // search trials proposed before this one
  // "" or why a block may not be a search trial.
  std::function<std::string(const Spec&)> why_refused = nullptr;
  // Whether a block of this hash is a baseline or a search trial already.
  std::function<bool(const std::string& spec_hash)> known = nullptr;
  std::function<Cost(const Spec&)> cost = nullptr;
};

// A pure function of (space, history, rng): nothing to save, any worker may propose after any
// crash.
class Sampler {
 public:
  virtual ~Sampler() = default;
  virtual Proposal propose(const SamplerView& view, Rng& rng) const = 0;
};

struct SamplerPlugin {
  std::string help;
  // What --sampler-option sets; stored with the study.
  std::vector<Field> options = {};
  // Values of options without a fallback, for a study of so many search trials.
  std::function<Fields(std::int64_t trials)> defaults = nullptr;
  // `options` has a value for each of them.
  std::function<std::unique_ptr<Sampler>(const Fields& options)> make;
};
const Registry<SamplerPlugin>& samplers();  // of samplers.def: random, evolution

}  // namespace moebius
