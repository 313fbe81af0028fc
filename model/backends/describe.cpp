#include "model/backends/describe.h"

#include "space/base/text.h"

namespace moebius {

std::string description(const BackendPlugin& plugin) {
  const BackendAttributes& its = plugin.attributes;
  if (!its.computes) return "computes nothing; memory and work are planned on it";
  std::vector<std::string> precisions = {"f32"};
  if (its.bf16) precisions.emplace_back("bf16");
  if (its.f64) precisions.emplace_back("f64");
  std::string text = fmt::format("on the {}, {}", its.device, join(precisions, ", "));
  if (its.definition) text += "; slow: the definition of all kernels";
  if (!its.deterministic) text += "; the same run may give other bits";
  const std::vector<std::string> missing = missing_families(plugin.families({}));
  if (!missing.empty())
    text += fmt::format("; WARNING: it lacks {}, which run on `reference`, slowly",
                        join(missing, ", "));
  return text;
}

}  // namespace moebius
