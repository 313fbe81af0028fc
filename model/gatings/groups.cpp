#include <algorithm>
#include <charconv>
#include <cmath>
#include <string>
#include <string_view>

#include "model/gating.h"
#include "space/base/units.h"

namespace moebius {
namespace {

constexpr std::string_view kTokens = "tokens:";

// N of "tokens:N"; 0 when it is not that.
std::int64_t parse_tokens(std::string_view group) {
  if (!group.starts_with(kTokens)) return 0;
  const std::string_view digits = group.substr(kTokens.size());
  std::int64_t n = 0;
  const auto [end, error] = std::from_chars(digits.data(), digits.data() + digits.size(), n);
  return error == std::errc() && end == digits.data() + digits.size() && n > 0 ? n : 0;
}

// C = c G / E, not yet a whole number.
double slots(const GatingSite& site, std::int64_t group_size) {
  return site.capacity * static_cast<double>(group_size) / static_cast<double>(site.experts);
}

// Decimal capacities such as 1.1 are not exact in binary.
bool legal(double c) { return c >= 0.5 && std::abs(c - std::round(c)) <= 1e-9 * c; }

// The divisor of T nearest to `size` whose groups fill up at the site's capacity; 0 = there is
// none.
std::int64_t nearest_group(const GatingSite& site, std::int64_t tokens, std::int64_t size) {
  std::int64_t best = 0;
  for (std::int64_t divisor = 1; divisor <= tokens / divisor; ++divisor) {
    if (tokens % divisor != 0) continue;
    for (const std::int64_t n : {divisor, tokens / divisor}) {
      if (!legal(slots(site, n))) continue;
      const std::int64_t gap = std::abs(n - size), known = std::abs(best - size);
      if (best == 0 || gap < known || (gap == known && n < best)) best = n;
    }
  }
  return best;
}

}  // namespace

Groups groups(const std::string& group, const TokenShape& shape) {
  const std::int64_t b = shape.batch, s = shape.seq, t = shape.tokens();
  if (group == "sequence") return {b, s, s, 1};
  if (group == "position") return {s, b, 1, s};
  if (group == "batch") return {1, t, t, 1};
  const std::int64_t n = parse_tokens(group);
  MOEBIUS_CHECK(n > 0 && t % n == 0, "[groups] '{}' of {} tokens", group, t);
  return {t / n, n, n, 1};
}

std::string why_bad_groups(const GatingSite& site, const TokenShape& shape) {
  const std::int64_t t = shape.tokens();
  if (site.group != "sequence" && site.group != "position" && site.group != "batch") {
    const std::int64_t n = parse_tokens(site.group);
    if (n == 0)
      return "unknown group; allowed: sequence, position, batch, tokens:N; got: " + site.group;
    if (t % n != 0)
      return fmt::format("group {} does not divide the {} tokens of a micro-batch", site.group, t);
  }
  if (site.capacity < 0) return "";  // dropless

  const std::int64_t size = groups(site.group, shape).size;
  const double c = slots(site, size);
  if (c > static_cast<double>(size) * (1 + 1e-9))
    return fmt::format("capacity {} asks {} slots of each of {} experts for {} tokens; at most {}",
                       shortest(site.capacity), shortest(c), site.experts, size, site.experts);
  if (legal(c)) return "";
  const double nearest = std::clamp(std::round(c), 1.0, static_cast<double>(size));
  std::string why = fmt::format(
      "capacity {} x {} tokens of a group / {} experts = {} slots, not a whole number; nearest "
      "legal capacity: {}",
      shortest(site.capacity), size, site.experts, shortest(c),
      shortest(nearest * static_cast<double>(site.experts) / static_cast<double>(size)));
  if (const std::int64_t n = nearest_group(site, t, size))
    why += fmt::format(", nearest legal group: tokens:{}", n);
  return why;
}

bool spans_batch(const std::string& group) { return group == "position" || group == "batch"; }

std::int64_t slots_per_expert(const GatingSite& site, const TokenShape& shape) {
  if (site.capacity < 0) return -1;
  const double c = slots(site, groups(site.group, shape).size);
  MOEBIUS_CHECK(legal(c), "[groups] {}: {} slots per expert", site.name, c);
  return std::llround(c);
}

}  // namespace moebius
