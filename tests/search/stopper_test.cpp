#include "search/stoppers/stopper.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>

#include "study_support.h"

namespace moebius {
namespace {

using namespace testing_support;

class QuarterTest : public ::testing::Test {
 protected:
  std::string why(const CurvePoint& point, std::int64_t before, std::int64_t steps) const {
    return stopper->why_pruned({point, before, steps, baseline, 100});
  }
  std::unique_ptr<Stopper> stopper = stoppers().get("quarter").make({{"margin", 0.5}});
  std::vector<CurvePoint> baseline = {{24, 0, 9, 0}, {25, 0, 3, 0}, {50, 0, 2, 0}};
};

TEST_F(QuarterTest, ComparesQuartersOfDifferentLengths) {
  EXPECT_EQ(why({10, 0, 3.5, 0}, 0, 40), "");
  EXPECT_EQ(why({10, 0, 3.6, 0}, 0, 40),
            "validation loss 3.6000 after 10 of 40 steps; allowed: 3.5000, the baseline's at a "
            "quarter and the margin");
  baseline[1].valid_loss = std::nan("");  // not evaluated there
  EXPECT_NE(why({10, 0, 2.6, 0}, 0, 40), "");
  EXPECT_EQ(why({10, 0, 2.5, 0}, 0, 40), "");
  baseline.clear();
  EXPECT_EQ(why({10, 0, 99, 0}, 0, 40), "");
}

TEST_F(QuarterTest, IsAskedOnceAtTheFirstPointThere) {
  EXPECT_EQ(why({9, 0, 9, 0}, 5, 40), "");
  EXPECT_NE(why({12, 0, 9, 0}, 9, 40), "");
  EXPECT_EQ(why({12, 0, 9, 0}, 10, 40), "");
  EXPECT_EQ(why({10, 0, std::nan(""), 0}, 0, 40), "");
  EXPECT_EQ(why({10, 0, 9, 0}, 0, 0), "");  // nobody knows how long it will be
}

class StopperContract : public ::testing::TestWithParam<std::string> {};

TEST_P(StopperContract, IsAPureFunctionOfItsView) {
  const StopperPlugin& plugin = stoppers().get(GetParam());
  Fields options;
  for (const Field& field : plugin.options) {
    ASSERT_FALSE(field.fallback.empty()) << field.name;
    EXPECT_FALSE(field.help.empty()) << field.name;
    options[field.name] = field.fallback.front();
  }
  const auto one = plugin.make(options), two = plugin.make(options);
  const std::vector<CurvePoint> baseline = {{25, 3, 3, 0}, {100, 2, 2, 0}};
  for (std::int64_t step = 1; step <= 100; ++step)
    for (const double loss : {2.0, 4.0}) {
      const CurvePoint point = {step, loss, loss, 0};
      const StopperView view = {point, step - 1, 100, baseline, 100};
      EXPECT_EQ(one->why_pruned(view), two->why_pruned(view));
      EXPECT_EQ(one->why_pruned(view), one->why_pruned(view));
    }
}

INSTANTIATE_TEST_SUITE_P(All, StopperContract, ::testing::ValuesIn(stoppers().names()),
                         [](const auto& named) { return named.param; });

}  // namespace
}  // namespace moebius
