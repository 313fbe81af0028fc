#include "evaluator/training/progress.h"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>

namespace moebius {
namespace {

// Losses are given here, because training does not decide it: what a run with too high a rate shows
// first, a NaN or a slow rise, depends on the rounding of the machine.
TEST(Divergence, IsNoticedByTheSmoothedLossAfterATenthOfTheSteps) {
  Progress progress;
  progress.steps = 60;
  const auto next = [&](double loss) {
    ++progress.step;
    return take_loss(progress, loss, 1);
  };
  EXPECT_EQ(next(2), "");
  // 2 * 0.95^k + 100 (1 - 0.95^k) is above 4 from k = 1 on: no word of it before step 6.
  for (int step = 2; step < 6; ++step) EXPECT_EQ(next(100), "") << step;
  EXPECT_EQ(next(100), "smoothed loss 24.169 at step 6 of 60, above twice the first loss 2.000");
}

TEST(Divergence, OneHighLossIsNone) {
  Progress progress;
  progress.steps = 60;
  for (progress.step = 1; progress.step <= 60; ++progress.step)
    EXPECT_EQ(take_loss(progress, progress.step == 30 ? 40 : 2, 1), "") << progress.step;
}

TEST(Divergence, IsALossOrGradientThatIsNotFinite) {
  Progress progress;
  progress.steps = 60;
  progress.step = 1;
  EXPECT_EQ(take_loss(progress, std::nan(""), 1), "loss nan with gradient norm 1 at step 1 of 60");
  EXPECT_EQ(take_loss(progress, 2, std::numeric_limits<double>::infinity()),
            "loss 2 with gradient norm inf at step 1 of 60");
}

}  // namespace
}  // namespace moebius
