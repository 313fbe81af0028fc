#include "evaluator/training/step_time.h"

#include <gtest/gtest.h>

namespace moebius {
namespace {

TEST(StepTime, RejectsOnlyASettledRatio) {
  EXPECT_EQ(why_too_slow({1.42, 1.40, 1.45, 9}, 1.0),
            "step time 1.42x the baseline's (1.40-1.45 over 9 pairs); allowed: 1.00x");
  EXPECT_EQ(why_too_slow({1.42, 0.99, 1.80, 9}, 1.0), "");
  EXPECT_EQ(why_too_slow({0.90, 0.88, 0.95, 9}, 1.0), "");
  EXPECT_EQ(why_too_slow({1.42, 1.42, 1.42, 0}, 1.0), "");  // resumed: not measured again
  EXPECT_EQ(why_too_slow({9, 9, 9, 9}, {}), "");            // baselines, re-runs and noise
}

TEST(StepRatio, IsTheMedianOfPairsWhateverTheMachineDrifts) {
  std::vector<double> candidate, baseline;
  for (int i = 1; i <= 101; ++i) {  // the machine slows down by 100; one pair is disturbed
    baseline.push_back(i);
    candidate.push_back(i == 50 ? 1e6 : 1.25 * i);
  }
  const StepRatio ratio = ratio_of(candidate, baseline);
  EXPECT_DOUBLE_EQ(ratio.median, 1.25);
  EXPECT_DOUBLE_EQ(ratio.low, 1.25);
  EXPECT_DOUBLE_EQ(ratio.high, 1.25);
  EXPECT_EQ(ratio.pairs, 101);
}

}  // namespace
}  // namespace moebius
