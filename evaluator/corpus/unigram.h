#pragma once
#include <cstdint>
#include <vector>

namespace moebius {

// Nats per token of a text, its tokens counted in `text`, under the frequencies of another, counted
// in `under`, with one added to each count: p(v) = (under[v] + 1) / (sum of under + V). NaN for an
// empty text. Splits that are exchangeable give each other what they give themselves, but for
// tokens that one of them lacks.
double unigram_cross_entropy(const std::vector<std::int64_t>& text,
                             const std::vector<std::int64_t>& under);

}  // namespace moebius
