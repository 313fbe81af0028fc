#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <set>

#include "model/gating.h"

namespace moebius {
namespace {

using ::testing::HasSubstr;

const TokenShape kShape{.batch = 4, .seq = 6, .d_model = 8};

GatingSite site(std::int64_t experts, double capacity, const std::string& group) {
  return {.name = "moe", .experts = experts, .capacity = capacity, .group = group};
}

TEST(Groups, EveryTokenIsInExactlyOneGroup) {
  for (const std::string name : {"sequence", "position", "batch", "tokens:1", "tokens:8"}) {
    const Groups g = groups(name, kShape);
    std::set<std::int64_t> seen;
    for (std::int64_t i = 0; i < g.count; ++i)
      for (std::int64_t j = 0; j < g.size; ++j)
        seen.insert(i * g.group_stride + j * g.token_stride);
    EXPECT_EQ(seen.size(), 24u) << name;
    EXPECT_EQ(*seen.rbegin(), 23) << name;
    EXPECT_EQ(g.count * g.size, 24) << name;
  }
}

TEST(Groups, SizesAreSBTAndN) {
  EXPECT_EQ(groups("sequence", kShape).size, 6);
  EXPECT_EQ(groups("position", kShape).size, 4);
  EXPECT_EQ(groups("batch", kShape).size, 24);
  EXPECT_EQ(groups("tokens:8", kShape).size, 8);
  const Groups position = groups("position", kShape);  // token s of every sequence
  EXPECT_EQ(position.group_stride, 1);
  EXPECT_EQ(position.token_stride, 6);
}

TEST(Groups, SlotsPerExpert) {
  EXPECT_EQ(slots_per_expert(site(3, 2, "sequence"), kShape), 4);
  EXPECT_EQ(slots_per_expert(site(10, 1.25, "tokens:8"), kShape), 1);
  EXPECT_EQ(slots_per_expert(site(3, 1.1, "tokens:30"), {.batch = 10, .seq = 6}), 11);
  EXPECT_EQ(slots_per_expert(site(3, -1, "sequence"), kShape), -1);
}

TEST(Groups, LegalOnes) {
  EXPECT_EQ(why_bad_groups(site(3, 2, "sequence"), kShape), "");
  EXPECT_EQ(why_bad_groups(site(4, 0.5, "tokens:8"), kShape), "");
  EXPECT_EQ(why_bad_groups(site(1, 1, "batch"), kShape), "");      // one expert takes all
  EXPECT_EQ(why_bad_groups(site(5, -1, "sequence"), kShape), "");  // dropless: nothing to divide
}

TEST(Groups, SayWhatIsWrongAndWhatWouldDo) {
  EXPECT_THAT(why_bad_groups(site(3, 1, "tokens:7"), kShape), HasSubstr("does not divide the 24"));
  for (const std::string group : {"", "tokens", "tokens:", "tokens:0", "tokens:-6", "tokens:6x",
                                  "tokens:99999999999999999999", "Sequence"})
    EXPECT_THAT(why_bad_groups(site(3, 1, group), kShape), HasSubstr("allowed: sequence")) << group;
  // 6 tokens for 4 experts: 1.5 slots each.
  const std::string why = why_bad_groups(site(4, 1, "sequence"), kShape);
  EXPECT_THAT(why, HasSubstr("1.5 slots"));
  EXPECT_THAT(why, HasSubstr("nearest legal group: tokens:4"));
  EXPECT_EQ(why_bad_groups(site(4, 1, "tokens:4"), kShape), "");
  EXPECT_THAT(why_bad_groups(site(2, 1, "tokens:3"), kShape), HasSubstr("nearest legal capacity"));
  EXPECT_THAT(why_bad_groups(site(3, 4, "sequence"), kShape), HasSubstr("at most 3"));  // C > G
  EXPECT_THAT(why_bad_groups(site(64, 1, "sequence"), kShape), HasSubstr("slots"));     // C < 1
}

// The capacity that a message names is legal when typed back.
TEST(Groups, TheNamedCapacityIsLegal) {
  for (std::int64_t experts = 2; experts <= 6; ++experts)
    for (const double c : {0.3, 0.7, 1.0, 1.3, 1.9}) {
      const std::string why = why_bad_groups(site(experts, c, "sequence"), kShape);
      if (why.empty()) continue;
      const std::string marker = "nearest legal capacity: ";
      const auto at = why.find(marker);
      ASSERT_NE(at, std::string::npos) << why;
      const double named = std::stod(why.substr(at + marker.size()));
      EXPECT_EQ(why_bad_groups(site(experts, named, "sequence"), kShape), "") << why;
    }
}

}  // namespace
}  // namespace moebius
