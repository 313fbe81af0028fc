#include "evaluator/training/probe.h"

#include <algorithm>
#include <bit>
#include <utility>

#include "space/base/check.h"

namespace moebius {
namespace {

constexpr std::int64_t kMostLogits = 1 << 23;

// The numbers of each token that must not see the future: [T, n].
std::vector<double> look(Learner& learner, const TokenWindows& batch, Mode mode) {
  const auto tokens = static_cast<std::int64_t>(batch.tokens.size());
  if (tokens * learner.vocab() <= kMostLogits) return learner.logits(batch.tokens, mode);
  return learner.evaluate(batch.tokens, batch.targets, mode);
}

bool same_bits(double a, double b) {
  return std::bit_cast<std::uint64_t>(a) == std::bit_cast<std::uint64_t>(b);
}

// Whether numbers at positions before j differ in any row of S tokens.
bool differs_before(const std::vector<double>& a, const std::vector<double>& b, std::int64_t rows,
                    std::int64_t j) {
  const auto row = static_cast<std::int64_t>(a.size()) / rows;
  for (std::int64_t r = 0; r < rows; ++r)
    if (!std::equal(a.begin() + r * row, a.begin() + r * row + j, b.begin() + r * row, same_bits))
      return true;
  return false;
}

}  // namespace

Leaks probe_causality(Learner& learner, const Corpus& corpus, const Recipe& recipe) {
  const std::int64_t rows = recipe.micro_batch, seq = recipe.seq;
  TokenWindows batch;
  corpus.fixed_batch(Split::Validation, 0, rows, seq, batch);
  const auto leaks = [&](Mode mode) {
    const auto before = look(learner, batch, mode);
    const auto numbers = static_cast<std::int64_t>(before.size() / batch.tokens.size());
    for (const auto& [row, j] : {std::pair{std::int64_t{0}, seq - 1},
                                 {rows / 2, seq / 2},
                                 {rows - 1, seq - 1},
                                 {rows - 1, std::int64_t{1}}}) {
      TokenWindows changed = batch;
      std::int32_t& token = changed.tokens[static_cast<std::size_t>(row * seq + j)];
      token = static_cast<std::int32_t>((token + 1 + corpus.vocab() / 3) % corpus.vocab());
      if (differs_before(before, look(learner, changed, mode), rows, j * numbers)) return true;
    }
    return false;
  };
  return {leaks(Mode::Native), leaks(Mode::Causal)};
}

std::int64_t probe_bytes(const Recipe& recipe, std::int64_t vocab) {
  const std::int64_t tokens = recipe.micro_batch * recipe.seq, logits = tokens * vocab;
  constexpr std::int64_t kCopies = 3 * sizeof(double) + 2 * sizeof(float);
  return (logits <= kMostLogits ? logits : tokens) * kCopies;
}

std::string why_not_as_declared(const Leaks& leaks, Causality declared) {
  if (declared == Causality::Yes && (leaks.native || leaks.causal))
    return "declared causal, but a later token changed earlier logits";
  if (declared == Causality::Selection && leaks.causal)
    return "its causal evaluation let a later token change earlier logits";
  return "";
}

}  // namespace moebius
