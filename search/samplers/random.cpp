#include "search/samplers/sampler.h"

namespace moebius {
namespace {

class Random : public Sampler {
 public:
  Proposal propose(const SamplerView& view, Rng& rng) const override {
    return {view.space.sample(rng), -1, Operator::Random};
  }
};

}  // namespace

SamplerPlugin samplers_random() {
  return {.help = "uniform over the points of the space",
          .make = [](const Fields&) { return std::make_unique<Random>(); }};
}

}  // namespace moebius
