#pragma once
#include <cstdint>
#include <functional>
#include <optional>
#include <string>

#include "search/samplers/sampler.h"

namespace moebius {

// What drawing again and again has come to.
struct Drawn {
  std::optional<Proposal> proposal;  // absent: nothing new was found
  Spec spec;                         // of the proposal
  std::string hash;
  std::int64_t refused = 0, known = 0;  // draws before it
  std::string why;                      // the last refusal
};

// Draws until a block is feasible and new, for the study and for samplers that choose among
// several. `next` gives the draw after so many others. Gives up after 1000 known or 100,000 refused
// ones.
Drawn draw_new(const SamplerView& view, const std::function<Proposal(std::int64_t draws)>& next);

}  // namespace moebius
