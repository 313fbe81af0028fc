#pragma once
#include <string>
#include <vector>

#include "space/space.h"

namespace moebius {

struct Baseline {
  std::string name;  // "glam-nano", the file's stem; "t12-micro" for a scaled block
  Spec spec;
  bool operator==(const Baseline&) const = default;
};
// The blocks that space.baselines() names, at its scale; trials are compared with the first.
std::vector<Baseline> space_baselines(const Space& space, const LayerTypes& types);

}  // namespace moebius
