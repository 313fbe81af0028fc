#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <numeric>

#include "tests/model/cpu_support.h"

namespace moebius {
namespace {

using testing_support::expect_agreement;
using testing_support::Kernels;
using testing_support::Lab;

// [T, E] probabilities, some rows repeated so that experts and tokens tie.
View probabilities(Lab& lab, std::int64_t tokens, std::int64_t experts) {
  std::vector<double> values = Kernels::normals(tokens * experts, 5);
  for (std::int64_t t = 0; t < tokens; ++t) {
    double* row = values.data() + t * experts;
    double sum = 0;
    for (std::int64_t e = 0; e < experts; ++e)
      sum += row[e] = t % 3 == 2 ? 1 : std::exp(row[e] - static_cast<double>(e));
    for (std::int64_t e = 0; e < experts; ++e) row[e] /= sum;
  }
  return lab.matrix(tokens, experts, values);
}

void show_routing(Lab& lab, const Routing& r) {
  const std::int64_t pairs = static_cast<std::int64_t>(lab.kernels().read(r.offset).back());
  lab.show(r.offset);
  lab.show(r.token.row_range(0, pairs));
  lab.show(r.weight.row_range(0, pairs));
  if (!r.choice.empty()) {
    lab.show(r.choice);
    lab.show(r.row);
  }
}

// The largest length of a row.
double longest_row(Lab& lab, View view) {
  const std::vector<double> values = lab.kernels().read(view);
  double longest = 0;
  for (auto row = values.begin(); row != values.end(); row += view.cols)
    longest = std::max(longest, std::inner_product(row, row + view.cols, row, 0.0));
  return std::sqrt(longest);
}

// Every kernel between the router and the end of an MoE sub-layer, on the routing `r`.
void show_experts(Lab& lab, View probs, const Groups& groups, bool renormalise, const Routing& r,
                  Weight up, Weight down, std::int64_t width, std::int64_t hidden) {
  const std::int64_t tokens = probs.rows, experts = probs.cols, bound = r.token.rows;
  const std::int64_t pairs = static_cast<std::int64_t>(lab.kernels().read(r.offset).back());
  const View x = lab.operand(tokens, width), in = lab.operand_nan(bound, width);
  const View u = lab.operand_nan(bound, hidden), y = lab.operand_nan(bound, width);
  const View out = lab.nan(tokens, width);
  lab->routing.gather(x, r, in);
  lab->products.expert_matmul(in, r, up, u);
  lab->products.expert_matmul(u, r, down, y);
  lab->routing.combine(y, r, out);
  const View dy = lab.operand_nan(bound, width), du = lab.operand_nan(bound, hidden);
  const View dweight = lab.nan(bound, 1);
  const View din = lab.random(bound, width), dx = lab.random(tokens, width);
  const View dprobs = lab.random(tokens, experts), dlogits = lab.random(tokens, experts);
  const View logits = lab.matrix(tokens, experts, [&] {
    std::vector<double> values = lab.kernels().read(probs);
    for (double& p : values) p = std::log(p) + 0.7;  // any logits with this softmax
    return values;
  }());
  const View dout = lab.operand(tokens, width);
  lab->routing.combine_backward(y, r, dout, dy, dweight);
  lab->products.expert_matmul_backward(u, dy, r, down, du, false);
  lab->products.expert_matmul_backward(in, du, r, up, din, true);
  lab->routing.gather_backward(din, r, dx);
  lab->routing.choice_backward(probs, r, renormalise, dweight, dprobs);
  const View statistics = lab.kernels().buffer(Dtype::F64, 1, 4);
  lab->memory.fill(statistics, 1);  // they add
  lab->routing.router_losses(logits, probs, groups, r, statistics);
  lab->routing.router_losses_backward(logits, probs, groups, r, r.choice.empty() ? 0 : 0.3, 0.2,
                                      dprobs, dlogits);
  for (const View& view : {in, u, y, dy, du, din}) lab.show(view.row_range(0, pairs));
  // The gradient of a gate is the product of a row of y and one of dout.
  lab.show_sums(dweight.row_range(0, pairs),
                longest_row(lab, y.row_range(0, pairs)) * longest_row(lab, dout));
  for (const View& view : {out, dx, dprobs, dlogits, statistics}) lab.show(view);
  lab.show_gradients();
}

struct Case {
  std::int64_t tokens, experts;
  Groups groups;
};
// Whole batches, sequences, positions (stride B apart is [S rows of B]).
const Case kCases[] = {{1, 1, {1, 1, 1, 1}},
                       {7, 3, {1, 7, 7, 1}},
                       {64, 8, {4, 16, 16, 1}},
                       {65, 8, {13, 5, 1, 13}},
                       {65, 3, {5, 13, 13, 1}}};

template <class Body>
void each_case(const Body& body) {
  for (const Case& c : kCases) {
    SCOPED_TRACE(fmt::format("T {} E {} groups of {}", c.tokens, c.experts, c.groups.size));
    body(c);
  }
}

TEST(CpuRouting, TokenChoiceAgrees) {
  each_case([](const Case& c) {
    for (const std::int64_t choices : {1, 2})
      for (const std::int64_t capacity : {-1, 1, 4}) {
        if (choices > c.experts) continue;
        SCOPED_TRACE(fmt::format("k {} capacity {}", choices, capacity));
        expect_agreement(
            [&](Lab& lab) {
              const Weight up = lab.kernels().declare("up", 10, 33, c.experts);
              const Weight down = lab.kernels().declare("down", 33, 10, c.experts);
              lab.kernels().attach();
              const View probs = probabilities(lab, c.tokens, c.experts);
              Routing r = lab.kernels().routing(c.tokens * choices, c.tokens, c.experts, choices);
              lab->routing.choose_experts(probs, c.groups, capacity, choices == 2, r);
              show_routing(lab, r);
              show_experts(lab, probs, c.groups, choices == 2, r, up, down, 10, 33);
            },
            1e-5);
      }
  });
}

TEST(CpuRouting, ExpertChoiceAgrees) {
  each_case([](const Case& c) {
    for (const std::int64_t capacity : {std::int64_t{1}, c.groups.size}) {
      SCOPED_TRACE(fmt::format("capacity {}", capacity));
      expect_agreement(
          [&](Lab& lab) {
            const Weight up = lab.kernels().declare("up", 10, 33, c.experts);
            const Weight down = lab.kernels().declare("down", 33, 10, c.experts);
            const Weight threshold = lab.kernels().declare("t", 1, c.experts, 1, Role::State);
            const Weight lowest = lab.kernels().declare("l", 1, c.experts + 1, 1, Role::Sum);
            lab.kernels().attach();
            const View probs = probabilities(lab, c.tokens, c.experts);
            Routing r = lab.kernels().routing(c.experts * c.groups.count * capacity, c.tokens,
                                              c.experts, 0);
            lab->routing.choose_tokens(probs, c.groups, capacity, {}, r);
            lab->routing.follow_lowest(threshold, lowest, 0.9);
            lab.show(lab.kernels().value(threshold));  // left alone
            const std::vector<double> before = lab.kernels().read(probs);
            std::vector<double> shifted = Kernels::normals(probs.size(), 3);
            for (std::size_t i = 0; i < shifted.size(); ++i)
              shifted[i] = 0.01 * shifted[i] + before[i];
            const View moved = lab.matrix(c.tokens, c.experts, shifted);
            for (const View& scores : {moved, probs}) {
              for (int part = 0; part < 2; ++part)
                lab->routing.choose_tokens(scores, c.groups, capacity, lowest, r);
              lab.show(lab.kernels().value(lowest));
              lab->routing.follow_lowest(threshold, lowest, 0.9);
              lab.show(lab.kernels().value(lowest));
              lab.show(lab.kernels().value(threshold));
            }
            show_routing(lab, r);
            show_experts(lab, probs, c.groups, false, r, up, down, 10, 33);
          },
          1e-5);
    }
  });
}

TEST(CpuRouting, ThresholdChoiceAgreesWithEmptyExperts) {
  each_case([](const Case& c) {
    for (const std::int64_t most : {std::int64_t{1}, c.experts})
      expect_agreement(
          [&](Lab& lab) {
            const Weight threshold = lab.kernels().declare("t", 1, c.experts, 1, Role::State);
            const Weight up = lab.kernels().declare("up", 10, 33, c.experts);
            const Weight down = lab.kernels().declare("down", 33, 10, c.experts);
            lab.kernels().attach();
            std::vector<double> limits = Kernels::constant(c.experts, 0.2);
            limits.back() = c.experts > 1 ? 2 : 0.2;  // an expert that nobody reaches
            lab.kernels().write(lab.kernels().value(threshold), limits);
            const View probs = probabilities(lab, c.tokens, c.experts);
            Routing r = lab.kernels().routing(c.tokens * most, c.tokens, c.experts, 0);
            lab->routing.choose_above(probs, threshold, r);
            show_routing(lab, r);
            show_experts(lab, probs, c.groups, false, r, up, down, 10, 33);
          },
          1e-5);
  });
}

TEST(CpuRouting, NanProbabilitiesLoseAlike) {
  expect_agreement([](Lab& lab) {
    lab.kernels().attach();
    const View probs = lab.matrix(
        3, 3, {0.2, std::nan(""), 0.5, std::nan(""), std::nan(""), std::nan(""), 0.3, 0.3, 0.4});
    Routing r = lab.kernels().routing(6, 3, 3, 2);
    lab->routing.choose_experts(probs, {1, 3, 3, 1}, -1, false, r);
    lab.show(r.choice);
    Routing by_expert = lab.kernels().routing(3, 3, 3, 0);
    lab->routing.choose_tokens(probs, {1, 3, 3, 1}, 1, {}, by_expert);
    lab.show(by_expert.token);
  });
}

// Several strips and depths of the product, and an expert without rows.
TEST(CpuRouting, WideAndDeepExpertsAgree) {
  expect_agreement([](Lab& lab) {
    const Weight w = lab.kernels().declare("w", 600, 300, 3);
    lab.kernels().attach();
    const View x = lab.operand(40, 600), y = lab.operand_nan(40, 300);
    Routing r = lab.kernels().routing(40, 40, 3, 0);
    const std::int32_t offset[] = {0, 23, 23, 40};
    lab->memory.write(r.offset, offset);
    lab->products.expert_matmul(x, r, w, y);
    lab.show(y);
  });
}

// A row's result may not change with the rows beside it: which tokens share an expert depends on
// the future. Wide and deep enough for several strips and depths of the product.
TEST(CpuRouting, RowsOfAnExpertDoNotDependOnEachOther) {
  constexpr std::int64_t kRows = 40, kDepth = 600, kCols = 300;
  Kernels k("cpu", "fp32");
  const Weight w = k.declare("w", kDepth, kCols);
  k.attach();
  const View x = k.random(kRows, kDepth, 3);
  const auto product = [&](std::int64_t begin, std::int64_t count) {
    const View y = k.matrix(count, kCols);
    Routing r = k.routing(count, count, 1, 0);
    const std::int32_t offset[] = {0, static_cast<std::int32_t>(count)};
    k->memory.write(r.offset, offset);
    k->products.expert_matmul(x.row_range(begin, count), r, w, y);
    return k.read(y);
  };
  const std::vector<double> all = product(0, kRows);
  for (const std::int64_t begin : {0, 1, 17})
    for (const std::int64_t count : {1, 2, 5, 6, 7, 13, 20}) {
      const std::vector<double> some = product(begin, count);
      EXPECT_TRUE(std::equal(some.begin(), some.end(), all.begin() + begin * kCols))
          << count << " rows from " << begin;
    }
}

}  // namespace
}  // namespace moebius
