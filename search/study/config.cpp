#include "search/study/config.h"

#include <algorithm>
#include <filesystem>

#include "evaluator/evaluator.h"
#include "search/results/builtin_catalog.h"
#include "search/samplers/sampler.h"
#include "search/stoppers/stopper.h"
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

std::vector<std::string> stopper_names() { return stoppers().names(); }
std::vector<std::string> evaluator_names() { return evaluators().names(); }
std::vector<std::string> backend_names() { return builtin_catalog().backends.names(); }
std::vector<std::string> sampler_names() { return samplers().names(); }

}  // namespace moebius
