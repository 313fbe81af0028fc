#include "search/samplers/drawer.h"

#include <utility>

namespace moebius {
namespace {

constexpr std::int64_t kMaxKnown = 1000;  // known blocks drawn in a row: the space is exhausted
constexpr std::int64_t kMaxRefused = 100'000;

}  // namespace

Drawn draw_new(const SamplerView& view, const std::function<Proposal(std::int64_t draws)>& next) {
  Drawn drawn;
  while (drawn.known < kMaxKnown && drawn.refused < kMaxRefused) {
    Proposal proposal = next(drawn.known + drawn.refused);
    drawn.spec = view.space.resolve(proposal.point);
    if (std::string why = view.why_refused(drawn.spec); !why.empty()) {
      ++drawn.refused;
      drawn.why = std::move(why);
      continue;
    }
    drawn.hash = spec_hash(drawn.spec);
    if (view.known(drawn.hash)) {
      ++drawn.known;
      continue;
    }
    drawn.proposal = std::move(proposal);
    break;
  }
  return drawn;
}

}  // namespace moebius
