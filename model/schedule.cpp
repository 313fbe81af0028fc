#include "model/schedule.h"

#include <algorithm>
#include <cmath>

#include "space/base/check.h"
#include "space/base/text.h"

namespace moebius {
namespace {

constexpr double kConstantShare = 0.1;  // of the budget, before 1/sqrt(t) sets in

double constant_rsqrt(double progress) {
  return progress <= kConstantShare ? 1 : std::sqrt(kConstantShare / progress);
}

// The last step still moves: the factor would reach zero at t = n.
double linear_decay(const Recipe& recipe, double progress) {
  if (recipe.decay <= 0) return 1;
  return std::min(1.0, (1 - progress) / recipe.decay);
}

}  // namespace

double schedule(const Recipe& recipe, std::int64_t t, std::int64_t n) {
  MOEBIUS_CHECK(t >= 0 && t < n, "[schedule] step {} of {}", t, n);
  const double steps = static_cast<double>(n);
  const double progress = static_cast<double>(t) / steps;
  const double warmup =
      recipe.warmup > 0 ? std::min(1.0, static_cast<double>(t + 1) / (recipe.warmup * steps)) : 1;
  if (recipe.schedule == "constant_rsqrt") return warmup * constant_rsqrt(progress);
  if (recipe.schedule == "wsd") return warmup * linear_decay(recipe, progress);
  bad_input("recipe:/schedule", unknown_name("unknown schedule", recipe.schedule, schedule_names()),
            join(schedule_names(), ", "), recipe.schedule);
}

std::vector<std::string> schedule_names() { return {"constant_rsqrt", "wsd"}; }

}  // namespace moebius
