#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/support/kernels.h"

namespace moebius {
namespace {

using ::testing::ElementsAre;
using testing_support::Kernels;
using testing_support::near;

const Groups kOneGroupOf4{1, 4, 4, 1};

std::vector<double> head(std::vector<double> values, double count) {
  values.resize(static_cast<std::size_t>(count));
  return values;
}

// Four tokens, three experts, two slots per expert:
//
//          e0   e1   e2     1st  2nd     slots of e0   slots of e1
//     t0   .6   .3   .1     e0   e1      t0 (1st)      t3 (1st)
//     t1   .5   .4   .1     e0   e1      t1 (1st)      t0 (2nd)
//     t2   .7   .2   .1     e0   e1      -- full: t2's first choice and t3's second are dropped;
//     t3   .1   .8   .1     e1   e0      -- full: t1's and t2's second choices are dropped
//
// t3's tie between e0 and e2 goes to the lower index.
struct Drawn : ::testing::Test {
  Kernels k;
  View probs = k.matrix(4, 3, {.6, .3, .1, .5, .4, .1, .7, .2, .1, .1, .8, .1});
  Routing r = k.routing(8, 4, 3, 2);
};

TEST_F(Drawn, FirstChoicesFillBeforeSecondOnesInTokenOrder) {
  k->routing.choose_experts(probs, kOneGroupOf4, 2, true, r);
  EXPECT_THAT(k.read(r.choice), ElementsAre(0, 1, 0, 1, 0, 1, 1, 0));
  EXPECT_THAT(k.read(r.offset), ElementsAre(0, 2, 4, 4));
  EXPECT_THAT(head(k.read(r.token), 4), ElementsAre(0, 1, 0, 3));  // within an expert by token
  EXPECT_THAT(k.read(r.row), ElementsAre(0, 2, 1, -1, -1, -1, 3, -1));
}

TEST_F(Drawn, GatesAreNotRenormalisedAfterADrop) {
  k->routing.choose_experts(probs, kOneGroupOf4, 2, true, r);
  EXPECT_THAT(head(k.read(r.weight), 4), near(1e-8, {.6 / .9, .5 / .9, .3 / .9, .8 / .9}));
  const View statistics = k.buffer(Dtype::F64, 1, 4);
  k->routing.router_losses(probs, probs, kOneGroupOf4, r, statistics);
  EXPECT_EQ(k.read(statistics)[2], 4);  // kept
  EXPECT_EQ(k.read(statistics)[3], 4);  // dropped
}

TEST_F(Drawn, PlainGatesAreTheProbabilities) {
  k->routing.choose_experts(probs, kOneGroupOf4, 2, false, r);
  EXPECT_THAT(head(k.read(r.weight), 4), ElementsAre(.6, .5, .3, .8));
}

TEST_F(Drawn, DroplessKeepsEveryChoice) {
  k->routing.choose_experts(probs, kOneGroupOf4, -1, true, r);
  EXPECT_THAT(k.read(r.offset), ElementsAre(0, 4, 8, 8));
  EXPECT_THAT(k.read(r.token), ElementsAre(0, 1, 2, 3, 0, 1, 2, 3));
  for (std::size_t t = 0; t < 4; ++t)
    EXPECT_NEAR(k.read(r.weight)[t] + k.read(r.weight)[4 + t], 1, 2e-9);
}

TEST_F(Drawn, TopOneTakesTheFirstColumnOnly) {
  Routing top1 = k.routing(4, 4, 3, 1);
  k->routing.choose_experts(probs, kOneGroupOf4, 2, false, top1);
  EXPECT_THAT(k.read(top1.offset), ElementsAre(0, 2, 3, 3));
  EXPECT_THAT(k.read(top1.row), ElementsAre(0, 1, -1, 2));
}

// Capacity is per group: each pair of tokens below competes alone.
TEST_F(Drawn, GroupsDecideWhoCompetes) {
  Routing top1 = k.routing(4, 4, 3, 1);
  k->routing.choose_experts(probs, {2, 2, 2, 1}, 1, false, top1);  // {t0, t1}, {t2, t3}
  EXPECT_THAT(k.read(top1.row), ElementsAre(0, -1, 1, 2));
  k->routing.choose_experts(probs, {2, 2, 1, 2}, 1, false,
                            top1);  // by position: {t0, t2}, {t1, t3}
  EXPECT_THAT(k.read(top1.row), ElementsAre(0, 1, -1, 2));
  k->routing.choose_experts(probs, {4, 1, 1, 1}, 1, false, top1);  // tokens:1
  EXPECT_THAT(k.read(top1.row), ElementsAre(0, 1, 2, 3));
}

TEST(ChooseExperts, TiesGoToTheLowerExpert) {
  Kernels k;
  const View probs = k.matrix(2, 4, 0.25);
  Routing r = k.routing(4, 2, 4, 2);
  k->routing.choose_experts(probs, {1, 2, 2, 1}, -1, true, r);
  EXPECT_THAT(k.read(r.choice), ElementsAre(0, 1, 0, 1));
}

TEST(BalanceLoss, IsOneAtPerfectBalanceAndEAtCollapse) {
  Kernels k;
  const View balanced = k.matrix(4, 4,
                                 {.4, .2, .2, .2, .2, .4, .2, .2,  //
                                  .2, .2, .4, .2, .2, .2, .2, .4});
  Routing r = k.routing(8, 4, 4, 2);
  View statistics = k.buffer(Dtype::F64, 1, 4);
  k->routing.choose_experts(balanced, kOneGroupOf4, 1, true, r);
  k->routing.router_losses(balanced, balanced, kOneGroupOf4, r, statistics);
  EXPECT_NEAR(k.read(statistics)[0], 1, 1e-15);

  const View collapsed = k.matrix(4, 4, {1, 0, 0, 0, 1, 0, 0, 0, 1, 0, 0, 0, 1, 0, 0, 0});
  k->memory.fill(statistics, 0);
  k->routing.choose_experts(collapsed, kOneGroupOf4, 1, true, r);  // drops do not change f
  k->routing.router_losses(collapsed, collapsed, kOneGroupOf4, r, statistics);
  EXPECT_NEAR(k.read(statistics)[0], 4, 1e-15);
}

// Two groups, each collapsed onto another expert: balanced over the batch, not within a group.
TEST(BalanceLoss, IsPerGroup) {
  Kernels k;
  const View probs = k.matrix(4, 2, {1, 0, 1, 0, 0, 1, 0, 1});
  Routing r = k.routing(4, 4, 2, 1);
  const View statistics = k.buffer(Dtype::F64, 1, 4);
  k->routing.choose_experts(probs, {2, 2, 2, 1}, -1, false, r);
  k->routing.router_losses(probs, probs, {2, 2, 2, 1}, r, statistics);
  EXPECT_NEAR(k.read(statistics)[0], 2, 1e-15);
  k->memory.fill(statistics, 0);
  k->routing.router_losses(probs, probs, kOneGroupOf4, r, statistics);
  EXPECT_NEAR(k.read(statistics)[0], 1, 1e-15);
}

TEST(RouterLosses, ZIsTheMeanSquareOfLogSumExp) {
  Kernels k;
  const View logits = k.matrix(2, 2, {0, 0, std::log(3.0), 0});
  const View probs = k.matrix(2, 2), statistics = k.buffer(Dtype::F64, 1, 4);
  k->routing.softmax(logits, probs);
  Routing r = k.routing(2, 2, 2, 1);
  k->routing.choose_experts(probs, {1, 2, 2, 1}, -1, false, r);
  k->routing.router_losses(logits, probs, {1, 2, 2, 1}, r, statistics);
  const double a = std::log(2.0), b = std::log(4.0);
  EXPECT_NEAR(k.read(statistics)[1], (a * a + b * b) / 2, 1e-15);
}

// t0 is wanted by nobody, t2 by all three; the tie of e2 between t1 and t3 goes to t1.
TEST(ChooseTokens, EveryExpertTakesExactlyItsCapacity) {
  Kernels k;
  const View probs = k.matrix(4, 3,
                              {.10, .20, .10,  //
                               .50, .10, .30,  //
                               .60, .70, .80,  //
                               .20, .50, .30});
  Routing r = k.routing(6, 4, 3, 0);
  k->routing.choose_tokens(probs, kOneGroupOf4, 2, {}, r);
  EXPECT_THAT(k.read(r.offset), ElementsAre(0, 2, 4, 6));
  EXPECT_THAT(k.read(r.token), ElementsAre(1, 2, 2, 3, 1, 2));
  EXPECT_THAT(k.read(r.weight), ElementsAre(.5, .6, .7, .5, .3, .8));
}

TEST(ChooseTokens, RowsOfAnExpertAreInTokenOrderOverAllGroups) {
  Kernels k;
  const View probs = k.matrix(4, 1, {.1, .2, .4, .3});
  Routing r = k.routing(2, 4, 1, 0);
  k->routing.choose_tokens(probs, {2, 2, 1, 2}, 1, {}, r);  // by position: {t0, t2}, {t1, t3}
  EXPECT_THAT(k.read(r.token), ElementsAre(2, 3));
}

// A threshold and the sums that it follows.
struct Followed {
  explicit Followed(Kernels& kernels, std::int64_t experts)
      : k(kernels),
        threshold(k.declare("threshold", 1, experts, 1, Role::State)),
        lowest(k.declare("lowest", 1, experts + 1, 1, Role::Sum)) {
    k.attach();
  }
  std::vector<double> after(double keep) {
    k->routing.follow_lowest(threshold, lowest, keep);
    return k.read(k.value(threshold));
  }
  Kernels& k;
  Weight threshold, lowest;
};

TEST(FollowLowest, ThresholdFollowsTheLowestTakenScoreOnceAStep) {
  Kernels k;
  Followed followed(k, 2);
  const View probs = k.matrix(4, 2, {.9, .1, .6, .4, .3, .7, .2, .8});
  Routing r = k.routing(4, 4, 2, 0);
  k->routing.choose_tokens(probs, kOneGroupOf4, 2, followed.lowest, r);
  EXPECT_THAT(k.read(k.value(followed.threshold)), ElementsAre(0, 0));  // not before the end
  EXPECT_THAT(followed.after(0.75), ElementsAre(.6, .7));               // the first call sets it
  EXPECT_THAT(followed.after(0.75), ElementsAre(.6, .7));               // nothing new
  k.write(probs, {.9, .1, .2, .8, .3, .7, .2, .8});
  k->routing.choose_tokens(probs, kOneGroupOf4, 2, followed.lowest, r);
  EXPECT_THAT(followed.after(0.75), near(1e-15, {.6 + .25 * (.3 - .6), .7 + .25 * (.8 - .7)}));
  EXPECT_THAT(k.read(k.value(followed.lowest)), ElementsAre(0, 0, 0));
}

TEST(FollowLowest, TakesTheMeanOverTheGroupsOfAllMicroBatches) {
  Kernels k;
  Followed followed(k, 1);
  Routing r = k.routing(2, 4, 1, 0);
  k->routing.choose_tokens(k.matrix(4, 1, {.9, .1, .4, .5}), {2, 2, 2, 1}, 1, followed.lowest, r);
  k->routing.choose_tokens(k.matrix(2, 1, {.3, .2}), {1, 2, 2, 1}, 1, followed.lowest, r);
  EXPECT_NEAR(followed.after(0.9)[0], (.9 + .5 + .3) / 3, 1e-15);
}

TEST(ChooseAbove, TakesWhatExceedsTheThresholdAndAtMostTheBoundPerToken) {
  Kernels k;
  const Weight threshold = k.declare("threshold", 1, 3, 1, Role::State);
  k.attach();
  k.write(k.value(threshold), {.3, .3, .1});
  const View probs = k.matrix(3, 3,
                              {.40, .35, .25,  // all three pass, the two best stay
                               .30, .65, .05,  // equal to the threshold is not above it
                               .30, .30, .10});
  Routing r = k.routing(6, 3, 3, 0);  // 6 rows for 3 tokens: 2 per token
  k->routing.choose_above(probs, threshold, r);
  EXPECT_THAT(k.read(r.offset), ElementsAre(0, 1, 3, 3));
  EXPECT_THAT(head(k.read(r.token), 3), ElementsAre(0, 0, 1));
  EXPECT_THAT(head(k.read(r.weight), 3), ElementsAre(.40, .35, .65));
}

// A diverged model must end as a value, not in a crash.
TEST(Routing, NaNProbabilitiesStayWithinTheBounds) {
  Kernels k;
  const View probs = k.matrix(4, 3, std::nan(""));
  Routing r = k.routing(8, 4, 3, 2);
  k->routing.choose_experts(probs, kOneGroupOf4, 2, true, r);
  EXPECT_THAT(k.read(r.offset), ElementsAre(0, 2, 4, 4));
  Routing by_expert = k.routing(6, 4, 3, 0);
  k->routing.choose_tokens(probs, kOneGroupOf4, 2, {}, by_expert);
  EXPECT_THAT(k.read(by_expert.offset), ElementsAre(0, 2, 4, 6));

  Routing top1 = k.routing(2, 2, 3, 1);  // some of them: a number is preferred
  const View mixed = k.matrix(2, 3, {std::nan(""), .2, .5, .4, std::nan(""), .1});
  k->routing.choose_experts(mixed, {1, 2, 2, 1}, -1, false, top1);
  EXPECT_THAT(k.read(top1.choice), ElementsAre(2, 0));
}

}  // namespace
}  // namespace moebius
