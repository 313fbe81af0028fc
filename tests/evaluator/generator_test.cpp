#include "evaluator/corpus/generator.h"

#include <array>
#include <cmath>

#include "evaluator/corpus/corpus.h"
#include "evaluator_support.h"

namespace moebius {
namespace {

TEST(Generator, ProbabilitiesSumToOneAfterEveryPrefix) {
  for (std::uint64_t seed = 0; seed < 5; ++seed) {
    GeneratorState state;
    for (const std::int32_t token : generate_document(Rng(seed))) {
      double mixed = 0, known = 0;
      for (std::int32_t each = 0; each < 256; ++each) {
        mixed += state.probability(each);
        known += state.probability(each, 2);
      }
      ASSERT_NEAR(mixed, 1, 1e-12);
      ASSERT_NEAR(known, 1, 1e-12);
      state.push(token);
    }
    EXPECT_TRUE(state.ended());
  }
}

// For the true conditional distribution, (count of a token) - (sum of its probabilities) is a
// martingale with variance sum p (1 - p): five deviations are never seen by chance.
TEST(Generator, FrequenciesFollowTheStatedDistribution) {
  std::array<double, 256> count{}, expected{}, variance{};
  for (std::uint64_t seed = 0; seed < 200; ++seed) {
    GeneratorState state;
    for (const std::int32_t token : generate_document(Rng(derive_key(seed, "frequencies")))) {
      for (std::size_t each = 0; each < 256; ++each) {
        const double p = state.probability(static_cast<std::int32_t>(each));
        expected[each] += p;
        variance[each] += p * (1 - p);
      }
      ++count[static_cast<std::size_t>(token)];
      state.push(token);
    }
  }
  for (std::size_t each = 0; each < 256; ++each)
    EXPECT_LE(std::abs(count[each] - expected[each]), 5 * std::sqrt(variance[each]) + 1e-9)
        << "token " << each;
}

TEST(Generator, CopiesAndAnswersAreCertain) {
  std::array<bool, 256> seen{};
  GeneratorState state;
  int certain = 0;
  for (const std::int32_t token : generate_document(Rng(7))) {
    seen[static_cast<std::size_t>(token)] = true;
    certain += state.probability(token) == 1;
    state.push(token);
  }
  for (const char marker : {'<', '>', '=', '?', '\n'})
    EXPECT_TRUE(seen[static_cast<std::size_t>(marker)]) << marker;
  EXPECT_GT(certain, GeneratorState::kCopied);
  EXPECT_THROW(GeneratorState().push('?'), Error);  // nothing is defined yet
}

TEST(Generator, FloorIsBelowTheUnigramEntropyAndAboveZero) {
  const auto corpus = Corpus::open("builtin", "");
  const std::int64_t batches = 20;
  const double floor = corpus->floor(Split::Validation, 16, 64, batches);
  std::array<double, 256> count{};
  TokenWindows batch;
  double total = 0;
  for (std::int64_t i = 0; i < batches; ++i) {
    corpus->fixed_batch(Split::Validation, i, 16, 64, batch);
    for (const std::int32_t token : batch.targets) ++count[static_cast<std::size_t>(token)];
    total += static_cast<double>(batch.targets.size());
  }
  double entropy = 0;
  for (const double n : count)
    if (n > 0) entropy -= n / total * std::log(n / total);
  EXPECT_GT(floor, 1.0);
  EXPECT_LT(floor, 0.8 * entropy);
}

TEST(Generator, CorpusIsTheSameEverywhere) {
  const auto corpus = Corpus::open("builtin", "");
  EXPECT_EQ(corpus->hash(), "6cd4c69540e9603400552ed6e3e05d4b");
  EXPECT_EQ(corpus->vocab(), 256);
  EXPECT_GT(corpus->documents(Split::Validation), 100);
}

}  // namespace
}  // namespace moebius
