#include "search/study/baseline.h"

#include <algorithm>
#include <filesystem>

#include "space/base/text.h"
#include "space/scale.h"

namespace moebius {

std::vector<Baseline> space_baselines(const Space& space, const LayerTypes& types) {
  std::vector<Baseline> result;
  const std::vector<std::string> blocks = baseline_blocks();
  for (const std::string& name : space.baselines()) {
    const bool block = std::find(blocks.begin(), blocks.end(), name) != blocks.end();
    const bool full = !block && !is_file_name(name);
    const std::string stem = std::filesystem::path(name).stem().string();
    const std::string label = block ? name + "-" + space.scale() : full ? name : stem;
    result.push_back({label, space_baseline(space, name, types)});
  }
  return result;
}

}  // namespace moebius
