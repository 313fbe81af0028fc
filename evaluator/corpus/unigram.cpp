#include "evaluator/corpus/unigram.h"

#include <cmath>
#include <numeric>

#include "space/base/check.h"

namespace moebius {

double unigram_cross_entropy(const std::vector<std::int64_t>& text,
                             const std::vector<std::int64_t>& under) {
  MOEBIUS_CHECK(text.size() == under.size(), "[unigram] {} and {} tokens", text.size(),
                under.size());
  const auto all = static_cast<double>(
      std::accumulate(under.begin(), under.end(), static_cast<std::int64_t>(under.size())));
  double sum = 0, count = 0;
  for (std::size_t v = 0; v < text.size(); ++v) {
    sum -= static_cast<double>(text[v]) * std::log(static_cast<double>(under[v] + 1) / all);
    count += static_cast<double>(text[v]);
  }
  return sum / count;
}

}  // namespace moebius
