#include "model/backends/cpu/select.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <limits>
#include <numeric>
#include <vector>

#include "space/base/rng.h"

namespace moebius::cpu {
namespace {

std::vector<std::int32_t> by_sorting(const std::vector<std::int32_t>& keys, std::size_t count) {
  std::vector<std::int32_t> order(keys.size());
  std::iota(order.begin(), order.end(), 0);
  std::stable_sort(order.begin(), order.end(), [&](std::int32_t a, std::int32_t b) {
    return keys[static_cast<std::size_t>(a)] > keys[static_cast<std::size_t>(b)];
  });
  order.resize(count);
  std::sort(order.begin(), order.end());
  return order;
}

TEST(CpuSelect, TakesTheBestAndOfEqualOnesTheFirst) {
  Rng rng(3);
  for (const std::size_t size : {1, 2, 15, 16, 17, 100, 300})
    for (const std::uint64_t values : {1, 2, 7, 1000000})  // few: many are equal
      for (const std::size_t count : {std::size_t{0}, std::size_t{1}, size / 3, size - 1, size}) {
        std::vector<std::int32_t> keys;
        for (std::size_t i = 0; i < size; ++i)
          keys.push_back(order_key(static_cast<float>(rng.below(values)) * 0.01f - 0.02f));
        std::vector<std::int32_t> best(count);
        take_best(keys, best);
        EXPECT_EQ(best, by_sorting(keys, count)) << size << " " << values << " " << count;
      }
}

TEST(CpuSelect, KeysOrderAsScoresAndNanComesLast) {
  const float infinity = std::numeric_limits<float>::infinity();
  const std::vector<float> rising = {-infinity, -2,     -1,   -1e-30f, 0,
                                     1e-45f,    1e-30f, 0.5f, 1,       infinity};
  for (std::size_t i = 1; i < rising.size(); ++i)
    EXPECT_LT(order_key(rising[i - 1]), order_key(rising[i])) << rising[i];
  EXPECT_EQ(order_key(-0.0f), order_key(0.0f));
  EXPECT_EQ(order_key(std::numeric_limits<float>::quiet_NaN()), order_key(-1));
}

}  // namespace
}  // namespace moebius::cpu
