#include "evaluator/training/probe.h"

#include <algorithm>
#include <bit>

#include "space/base/check.h"

namespace moebius {
namespace {

constexpr std::int64_t kMostLogits = 1 << 23;

// One run over a micro-batch: the numbers of each token that must not see the future, [T, n], and
// whether any pair of a token and an expert was dropped.
struct Look {
  std::vector<double> numbers;
  bool dropped = false;
};

Look look(Learner& learner, const TokenWindows& batch, Mode mode) {
  const auto tokens = static_cast<std::int64_t>(batch.tokens.size());
  Look result;
  result.numbers = tokens * learner.vocab() <= kMostLogits
                       ? learner.logits(batch.tokens, mode)
                       : learner.evaluate(batch.tokens, batch.targets, mode);
  result.dropped = learner.dropped() > 0;
  return result;
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

Probed probe_causality(Learner& learner, const Corpus& corpus, const Recipe& recipe) {
  const std::int64_t rows = recipe.micro_batch, seq = recipe.seq;
  TokenWindows batch;
  corpus.fixed_batch(Split::Validation, 0, rows, seq, batch);
  const auto probe = [&](Mode mode) {
    Sight sight;
    const Look before = look(learner, batch, mode);
    const auto numbers = static_cast<std::int64_t>(before.numbers.size() / batch.tokens.size());
    for (const std::int64_t j : {seq - 1, seq / 2, seq / 4, std::int64_t{1}}) {
      TokenWindows changed = batch;
      for (std::int64_t t = 0; t < rows * seq; ++t) {
        if (t % seq < j) continue;
        std::int32_t& token = changed.tokens[static_cast<std::size_t>(t)];
        token = static_cast<std::int32_t>((token + 1 + corpus.vocab() / 3) % corpus.vocab());
      }
      const Look after = look(learner, changed, mode);
      if (!differs_before(before.numbers, after.numbers, rows, j * numbers)) continue;
      sight.future = true;
      sight.without_drops |= !before.dropped && !after.dropped;
    }
    return sight;
  };
  return {.training = probe(Mode::Native), .ranked = probe(Mode::Causal)};
}

std::int64_t probe_bytes(const Recipe& recipe, std::int64_t vocab) {
  const std::int64_t tokens = recipe.micro_batch * recipe.seq, logits = tokens * vocab;
  constexpr std::int64_t kCopies = 3 * sizeof(double) + 2 * sizeof(float);
  return (logits <= kMostLogits ? logits : tokens) * kCopies;
}

Causality measured_causality(const Sight& sight) {
  if (!sight.future) return Causality::Yes;
  return sight.without_drops ? Causality::Selection : Causality::Drops;
}

Causality stored_causality(const Sight& training, Causality declared, bool dropped) {
  if (training.future) return std::max(measured_causality(training), declared);
  return dropped ? std::min(declared, Causality::Drops) : Causality::Yes;
}

std::string why_not_as_declared(const Probed& probed, Causality declared) {
  if (probed.ranked.future)
    return "error of the program: in the evaluation that ranks, a later token changed earlier "
           "logits";
  if (measured_causality(probed.training) <= declared) return "";
  if (declared == Causality::Yes)
    return "declared causal, but a later token changed earlier logits";
  return "declared to see the future by drops alone, but a later token changed earlier logits "
         "where nothing was dropped";
}

}  // namespace moebius
