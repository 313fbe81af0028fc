#include "model/schedule.h"

#include <gtest/gtest.h>

#include <cmath>

#include "space/base/check.h"

namespace moebius {
namespace {

Recipe with(const std::string& name, double warmup, double decay) {
  Recipe recipe;
  recipe.schedule = name;
  recipe.warmup = warmup;
  recipe.decay = decay;
  return recipe;
}

TEST(Schedule, ConstantThenInverseSquareRoot) {
  const Recipe recipe = with("constant_rsqrt", 0, 0);
  for (int t = 0; t <= 100; ++t) EXPECT_EQ(schedule(recipe, t, 1000), 1) << t;
  for (int t = 101; t < 1000; ++t)
    EXPECT_NEAR(schedule(recipe, t, 1000), std::sqrt(100.0 / t), 1e-12) << t;
}

TEST(Schedule, WarmsUpHoldsAndDecaysLinearly) {
  const Recipe recipe = with("wsd", 0.1, 0.2);
  for (int t = 0; t < 10; ++t) EXPECT_NEAR(schedule(recipe, t, 100), (t + 1) / 10.0, 1e-12);
  for (int t = 10; t <= 80; ++t) EXPECT_NEAR(schedule(recipe, t, 100), 1, 1e-12);
  for (int t = 81; t < 100; ++t) EXPECT_NEAR(schedule(recipe, t, 100), (100 - t) / 20.0, 1e-12);
}

TEST(Schedule, DependsOnTheFractionOfTheBudgetOnly) {
  for (const std::string& name : schedule_names())
    for (int t = 20; t < 100; ++t)  // after warm-up, which counts whole steps
      EXPECT_NEAR(schedule(with(name, 0.1, 0.2), t, 100),
                  schedule(with(name, 0.1, 0.2), 7 * t, 700), 1e-12);
}

TEST(Schedule, NeverStopsLearning) {
  for (const std::string& name : schedule_names())
    for (const int n : {1, 2, 3, 10})
      for (int t = 0; t < n; ++t) EXPECT_GT(schedule(with(name, 0.5, 0.5), t, n), 0);
}

TEST(Schedule, NamesTheKnownOnes) {
  try {
    schedule(with("wds", 0, 0), 0, 1);
    FAIL();
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), Exit::BadInput);
    EXPECT_STREQ(error.what(),
                 "recipe:/schedule: unknown schedule; did you mean 'wsd'?; allowed: "
                 "constant_rsqrt, wsd; got: wds");
  }
}

}  // namespace
}  // namespace moebius
