#include "search/samplers/sampler.h"

namespace moebius {
namespace {

class Every : public Sampler {
 public:
  explicit Every(std::int64_t stride) : stride_(stride) {}

  Proposal propose(const SamplerView& view, Rng& rng) const override {
    Proposal proposal{view.space.sample(rng), -1, Operator::Random};
    const std::vector<const Trial*> youngest = view.youngest(1);
    if (view.index % stride_ != 0 || youngest.empty()) return proposal;
    proposal.parent = youngest.front()->number;
    const Mutation mutation = view.space.mutate(youngest.front()->point, Point{}, rng);
    proposal.point = mutation.child;
    proposal.op = mutation.op;
    return proposal;
  }

 private:
  const std::int64_t stride_;
};

}  // namespace

SamplerPlugin samplers_every() {
  return {
      .help = "uniform, but every N-th block is a child of the youngest that is known",
      .options =
          {{.name = "stride", .low = 1, .high = 100, .fallback = {std::int64_t{3}}, .help = "N"}},
      .make = [](const Fields& options) {
        return std::make_unique<Every>(integer(options, "stride"));
      }};
}

}  // namespace moebius
