#include <algorithm>

#include "space/base/check.h"
#include "space/base/units.h"
#include "space/space.h"

namespace moebius {
namespace {

double measure(const Cost& cost, const std::string& metric) {
  return metric == "parameters" ? static_cast<double>(cost.parameters) : cost.active_flops;
}

std::string why_out_of_bounds(const Constraint& rule, const Cost& candidate, const Cost& baseline) {
  const double value = measure(candidate, rule.metric), reference = measure(baseline, rule.metric);
  const auto reason = [&](const char* relation, double factor) {
    return fmt::format("{} {} {} {} ({:g} x the baseline's {})", rule.metric, count_text(value),
                       relation, count_text(factor * reference), factor, count_text(reference));
  };
  if (rule.min_over_baseline > 0 && value < rule.min_over_baseline * reference)
    return reason("below", rule.min_over_baseline);
  if (rule.max_over_baseline > 0 && value > rule.max_over_baseline * reference)
    return reason("above", rule.max_over_baseline);
  return "";
}

}  // namespace

std::string why_infeasible(const Space& space, const Spec& spec, const Cost& baseline,
                           const LayerTypes& types, std::int64_t vocab) {
  const std::string illegal = why_illegal(spec, types, space.recipe());
  if (!illegal.empty()) return illegal;

  // Without attention no token sees another: fast, but never more than a bigram model.
  const auto& names = space.type_names();
  const bool may_attend = std::find(names.begin(), names.end(), "attn") != names.end();
  if (may_attend && std::none_of(spec.sublayers.begin(), spec.sublayers.end(),
                                 [](const SubLayer& each) { return each.type == "attn"; }))
    return "no attention sub-layer";

  try {
    const Cost candidate = cost(spec, types, space.recipe(), vocab);
    for (const Constraint& rule : space.constraints()) {
      if (rule.metric == "step_time") continue;
      const std::string reason = why_out_of_bounds(rule, candidate, baseline);
      if (!reason.empty()) return reason;
    }
  } catch (const Error& error) {  // one block of a space may be beyond what can be counted
    if (error.code() != Exit::BadInput) throw;
    return error.what();
  }
  return "";
}

}  // namespace moebius
