#include "search/results/deviations.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>

#include "space/base/rng.h"

namespace moebius {
namespace {

// Losses of blocks whose deviations scatter as those of seven blocks of brainformer-nano do: from
// 0.0016 to 0.0855 with four seeds each, Bartlett's statistic 32.5. A log-normal distribution of
// spread 1.25 explains both figures best (bench/statistics_check).
constexpr double kSpread = 1.25, kMedian = 0.0117, kError = 0.05, kLeast = 0.93, kMost = 0.97;

struct Design {
  std::vector<int> seeds;  // of the found block, then of each baseline
  double spread = kSpread;
  double lead = 0;  // of the found block, in deviations (root mean square of both)
};

struct Counted {
  int studies = 0, told_apart = 0, found = 0, comparisons = 0, covered = 0;
  int worst_told_apart = 0;  // in the worst tenth of studies by their largest deviation
  double apart() const { return static_cast<double>(told_apart) / studies; }
  double power() const { return static_cast<double>(found) / comparisons; }
  double coverage() const { return static_cast<double>(covered) / studies; }
};

Estimate draw(Rng& rng, double mean, double sd, int seeds) {
  std::vector<double> losses;
  for (int i = 0; i < seeds; ++i) losses.push_back(mean + sd * rng.normal());
  double sum = 0, squares = 0;
  for (const double loss : losses) sum += loss;
  const double average = sum / seeds;
  for (const double loss : losses) squares += (loss - average) * (loss - average);
  return {average, seeds, seeds > 1 ? std::sqrt(squares / (seeds - 1)) : 0, seeds - 1};
}

Counted simulate(const Design& design, int studies) {
  Counted counted;
  counted.studies = studies;
  std::vector<std::pair<double, bool>> by_deviation;
  for (int study = 0; study < studies; ++study) {
    Rng rng = Rng(20).split("study", static_cast<std::uint64_t>(study));
    std::vector<double> sds, means;
    for (std::size_t i = 0; i < design.seeds.size(); ++i) {
      sds.push_back(kMedian * std::exp(design.spread * rng.normal()));
      means.push_back(i == 0 ? 0
                             : design.lead * std::sqrt((sds[0] * sds[0] + sds[i] * sds[i]) / 2));
    }
    std::vector<Estimate> blocks;
    for (std::size_t i = 0; i < sds.size(); ++i)
      blocks.push_back(draw(rng, means[i], sds[i], design.seeds[i]));
    const std::vector<Estimate> others(blocks.begin() + 1, blocks.end());
    const std::vector<double> reaches =
        Deviations(blocks).reaches(blocks[0], others, kVerdictError);
    bool apart = false, covered = true;
    for (std::size_t k = 0; k < others.size(); ++k) {
      const double gain = others[k].mean - blocks[0].mean;
      apart |= std::abs(gain) > reaches[k];
      covered &= std::abs(gain - means[k + 1]) <= reaches[k];
      counted.found += gain > reaches[k];
      ++counted.comparisons;
    }
    counted.told_apart += apart;
    counted.covered += covered;
    by_deviation.emplace_back(*std::max_element(sds.begin(), sds.end()), apart);
  }
  std::stable_sort(by_deviation.begin(), by_deviation.end(),
                   [](const auto& left, const auto& right) { return left.first < right.first; });
  for (int tenth = 0; tenth < 10; ++tenth)
    counted.worst_told_apart =
        std::max(counted.worst_told_apart,
                 static_cast<int>(std::count_if(by_deviation.begin() + tenth * studies / 10,
                                                by_deviation.begin() + (tenth + 1) * studies / 10,
                                                [](const auto& study) { return study.second; })));
  return counted;
}

class Simulation : public ::testing::TestWithParam<Design> {};

TEST_P(Simulation, EqualBlocksAreSeldomToldApart) {
  constexpr int kStudies = 2000;
  const Counted counted = simulate(GetParam(), kStudies);
  EXPECT_LE(counted.apart(), kError);
  // Under the spread that the weights were made for the intervals are no wider than they must be.
  if (GetParam().spread == kSpread) {
    EXPECT_GE(counted.coverage(), kLeast);
    EXPECT_LE(counted.coverage(), kMost);
  }
  RecordProperty("told_apart", std::to_string(counted.apart()));
  RecordProperty("worst_tenth_told_apart",
                 std::to_string(10.0 * counted.worst_told_apart / kStudies));
}

// Degrees of freedom in all: 1, 3, 7; then of each block; then several baselines.
INSTANTIATE_TEST_SUITE_P(Deviations, Simulation,
                         ::testing::Values(Design{{1, 2}}, Design{{1, 4}}, Design{{1, 8}},
                                           Design{{2, 2}}, Design{{4, 4}}, Design{{8, 8}},
                                           Design{{4, 4}, 0}, Design{{4, 4}, 0.75}),
                         [](const auto& test) {
                           std::string name = "Seeds";
                           for (const int seeds : test.param.seeds)
                             name += std::to_string(seeds) + "_";
                           return name + "Spread" +
                                  std::to_string(static_cast<int>(100 * test.param.spread));
                         });

TEST(Deviations, SeveralBaselinesAreOneVerdict) {
  const Counted counted = simulate({{4, 4, 4, 4}}, 1000);
  EXPECT_LE(counted.apart(), kError);
  EXPECT_LE(counted.coverage(), kMost);
}

TEST(Deviations, FindATrueLeadOfThreeDeviationsWithFourSeeds) {
  EXPECT_GE(simulate({{4, 4}, kSpread, 3}, 1000).power(), 0.8);
  EXPECT_GE(simulate({{4, 4}, 0, 3}, 1000).power(), 0.8);
}

std::vector<Estimate> three_blocks(double unit) {
  return {{2 * unit, 4, 0.01 * unit, 3}, {3 * unit, 4, 0.02 * unit, 3}, {4 * unit, 1, 0, 0}};
}

TEST(Deviations, IntervalsScaleWithTheUnitOfLosses) {
  const std::vector<Estimate> nats = three_blocks(1), other = three_blocks(1e4);
  const std::vector<double> small = Deviations(nats).reaches(nats[0], {nats[1], nats[2]}, kError),
                            large =
                                Deviations(other).reaches(other[0], {other[1], other[2]}, kError);
  for (std::size_t k = 0; k < 2; ++k) EXPECT_NEAR(large[k] / small[k], 1e4, 10);
}

TEST(Deviations, MoreSeedsAndFewerComparisonsMakeShorterIntervals) {
  const std::vector<Estimate> blocks = three_blocks(1);
  const Deviations deviations(blocks);
  const auto reach = [&](std::int64_t seeds, std::size_t others) {
    Estimate first = blocks[0];
    first.seeds = seeds;
    return deviations.reaches(first, std::vector<Estimate>(others, blocks[1]), kError).front();
  };
  EXPECT_LT(reach(8, 1), reach(2, 1));
  EXPECT_LT(reach(4, 1), reach(4, 3));
}

// With many seeds of every block all is known, and the interval is that of the normal distribution.
TEST(Deviations, ManySeedsGiveTheNormalInterval) {
  const std::vector<Estimate> blocks(4, {1, 100, 0.03, 99});
  const double error = 0.03 * std::sqrt(2.0 / 100);
  const Deviations deviations(blocks);
  EXPECT_NEAR(deviations.reaches(blocks[0], {blocks[1]}, kError)[0] / error, 1.96, 0.03);
  // Dunnett's two-sided critical value for three comparisons with a control.
  const std::vector<Estimate> others(3, blocks[1]);
  EXPECT_NEAR(deviations.reaches(blocks[0], others, kError)[0] / error, 2.36, 0.03);
  EXPECT_NEAR(deviations.chance(blocks[0], blocks[1], 1.96 * error), 0.05, 0.004);
}

TEST(Deviations, WithoutASecondSeedNothingIsApart) {
  const Estimate one = {1, 1, 0, 0}, other = {2, 1, 0, 0};
  const Deviations deviations({one, other});
  EXPECT_EQ(deviations.degrees(), 0);
  EXPECT_TRUE(std::isinf(deviations.reaches(one, {other}, kError)[0]));
  EXPECT_EQ(deviations.chance(one, other, 1), 1);
}

TEST(Deviations, LossesThatNeverScatterAreApartByAnything) {
  const Estimate one = {1, 3, 0, 2}, other = {1.5, 3, 0, 2};
  EXPECT_EQ(Deviations({one, other}).reaches(one, {other}, kError)[0], 0);
}

// Seeds that agree by chance to the last digit do not make the pool's deviation vanish.
TEST(Deviations, OneBlockWithoutScatterLeavesTheOthersTheirs) {
  const Estimate still = {1, 2, 0, 1}, noisy = {1, 4, 0.03, 3};
  const double reach = Deviations({still, noisy}).reaches(noisy, {still}, kError)[0];
  EXPECT_GT(reach, 0.02);
  EXPECT_LT(reach, 1);
}

}  // namespace
}  // namespace moebius
