#include <algorithm>
#include <cmath>
#include <numeric>
#include <vector>

#include "model/backends/reference/reference.h"

namespace moebius::reference {
namespace {

constexpr double kRenormEpsilon = 1e-9;

// The chosen (token, expert) pairs as a [T, E] table; `row` is that of the pair in the sorted list,
// -1 while it is not chosen.
struct Pairs {
  Pairs(std::int64_t tokens, std::int64_t experts_)
      : experts(experts_),
        gate(static_cast<std::size_t>(tokens * experts_)),
        row(gate.size(), -1) {}
  std::size_t at(std::int64_t t, std::int64_t e) const {
    return static_cast<std::size_t>(t * experts + e);
  }
  void choose(std::int64_t t, std::int64_t e, double gate_of_pair) {
    gate[at(t, e)] = gate_of_pair;
    row[at(t, e)] = 0;
  }

  std::int64_t experts;
  std::vector<double> gate;
  std::vector<std::int32_t> row;
};

// Sorts the pairs by expert, within an expert by token.
template <class T>
void list_pairs(Pairs& pairs, std::int64_t tokens, Indices offset, Indices token,
                Matrix<T> weight) {
  check_shape(offset, pairs.experts + 1, 1, "routing offset");
  check_shape(weight, token.rows, 1, "routing weight");
  std::int32_t row = 0;
  for (std::int64_t e = 0; e < pairs.experts; ++e) {
    offset(e, 0) = row;
    for (std::int64_t t = 0; t < tokens; ++t) {
      if (pairs.row[pairs.at(t, e)] < 0) continue;
      MOEBIUS_CHECK(row < token.rows, "[routing] more pairs than the bound of {} rows", token.rows);
      token(row, 0) = static_cast<std::int32_t>(t);
      weight(row, 0) = T(pairs.gate[pairs.at(t, e)]);
      pairs.row[pairs.at(t, e)] = row++;
    }
  }
  offset(pairs.experts, 0) = row;
}

// Indices of the `count` largest of score(0..n-1), best first; ties to the lower index. NaN, which
// a diverging model may bring, counts as less than any probability.
template <class Score>
std::vector<std::int64_t> best(std::int64_t n, std::int64_t count, Score&& score) {
  const auto key = [&](std::int64_t i) {
    const double s = score(i);
    return std::isnan(s) ? -1.0 : s;
  };
  std::vector<std::int64_t> order(static_cast<std::size_t>(n));
  std::iota(order.begin(), order.end(), std::int64_t{0});
  std::stable_sort(order.begin(), order.end(),
                   [&](std::int64_t a, std::int64_t b) { return key(a) > key(b); });
  order.resize(static_cast<std::size_t>(std::min(n, count)));
  return order;
}

std::int64_t token_of(const Groups& groups, std::int64_t g, std::int64_t i) {
  return g * groups.group_stride + i * groups.token_stride;
}

// GShard's rule as Google implements it (praxis top2_gating_on_logits), for any k: choose, divide
// the gates by their sum, then fill each expert's slots choice by choice in token order.
template <class T>
void token_choice(Matrix<T> probs, const Groups& groups, std::int64_t capacity, bool renormalise,
                  Indices choice, Pairs& pairs) {
  const std::int64_t k = choice.cols;
  for (std::int64_t t = 0; t < probs.rows; ++t) {
    const auto chosen = best(probs.cols, k, [&](std::int64_t e) { return probs(t, e); });
    for (std::int64_t j = 0; j < k; ++j)
      choice(t, j) = static_cast<std::int32_t>(chosen[static_cast<std::size_t>(j)]);
  }
  for (std::int64_t g = 0; g < groups.count; ++g) {
    std::vector<std::int64_t> used(static_cast<std::size_t>(probs.cols));  // slots of each expert
    for (std::int64_t j = 0; j < k; ++j)
      for (std::int64_t i = 0; i < groups.size; ++i) {
        const std::int64_t t = token_of(groups, g, i);
        const std::int64_t e = choice(t, j);
        if (capacity >= 0 && used[static_cast<std::size_t>(e)] >= capacity) continue;  // dropped
        ++used[static_cast<std::size_t>(e)];
        double sum = kRenormEpsilon;
        for (std::int64_t c = 0; c < k; ++c) sum += probs(t, choice(t, c));
        pairs.choose(t, e, renormalise ? probs(t, e) / sum : double(probs(t, e)));
      }
  }
}

// Expert Choice (2202.09368, 3.2). lowest: [1, E + 1] or empty.
template <class T>
void expert_choice(Matrix<T> probs, const Groups& groups, std::int64_t capacity, Pairs& pairs,
                   Matrix<T> lowest) {
  for (std::int64_t g = 0; g < groups.count; ++g)
    for (std::int64_t e = 0; e < probs.cols; ++e) {
      const auto taken = best(groups.size, capacity,
                              [&](std::int64_t i) { return probs(token_of(groups, g, i), e); });
      for (const std::int64_t i : taken) {
        const std::int64_t t = token_of(groups, g, i);
        pairs.choose(t, e, probs(t, e));
      }
      if (lowest.cols > 0) lowest(0, e) += probs(token_of(groups, g, taken.back()), e);
    }
  if (lowest.cols > 0) lowest(0, probs.cols) += T(groups.count);
}

// Experts above their threshold, at most `most` per token and then the best ones.
template <class T>
void above(Matrix<T> probs, Matrix<T> threshold, std::int64_t most, Pairs& pairs) {
  for (std::int64_t t = 0; t < probs.rows; ++t) {
    std::int64_t taken = 0;
    for (const std::int64_t e :
         best(probs.cols, probs.cols, [&](std::int64_t i) { return probs(t, i); })) {
      if (taken == most || !(probs(t, e) > threshold(0, e))) continue;
      pairs.choose(t, e, probs(t, e));
      ++taken;
    }
  }
}

// g_i = p_i / (sum_j p_j + 1e-9) over the chosen experts of a token, so
// dp_i += (dg_i - sum_j g_j dg_j) / (sum_j p_j + 1e-9); dg of a dropped pair is zero, but its p
// stays in the denominator.
template <class T>
void renormalised_backward(Matrix<T> probs, Indices choice, Indices row, Matrix<T> dweight,
                           Matrix<T> dprobs) {
  for (std::int64_t t = 0; t < probs.rows; ++t) {
    double sum = kRenormEpsilon, dot = 0;  // dot: sum_j p_j dg_j
    const auto dgate = [&](std::int64_t j) { return row(t, j) < 0 ? 0 : dweight(row(t, j), 0); };
    for (std::int64_t j = 0; j < choice.cols; ++j) {
      sum += probs(t, choice(t, j));
      dot += double(probs(t, choice(t, j))) * dgate(j);
    }
    for (std::int64_t j = 0; j < choice.cols; ++j)
      dprobs(t, choice(t, j)) += T((dgate(j) - dot / sum) / sum);
  }
}

// Plain gates: dprobs[token[p], e(p)] += dweight[p].
template <class T>
void plain_backward(Indices offset, Indices token, Matrix<T> dweight, Matrix<T> dprobs) {
  for (std::int64_t e = 0; e + 1 < offset.rows; ++e)
    for (std::int64_t p = offset(e, 0); p < offset(e + 1, 0); ++p)
      dprobs(token(p, 0), e) += dweight(p, 0);
}

void check_groups(const Groups& groups, View probs) {
  MOEBIUS_CHECK(groups.count * groups.size == probs.rows, "[routing] {} groups of {} of {} tokens",
                groups.count, groups.size, probs.rows);
}

}  // namespace

void Reference::choose_experts(View probs, const Groups& groups, std::int64_t capacity,
                               bool renormalise, Routing& r) {
  check_groups(groups, probs);
  MOEBIUS_CHECK(r.choice.cols >= 1 && r.choice.cols <= probs.cols,
                "[choose_experts] {} choices of {} experts", r.choice.cols, probs.cols);
  const Indices choice = r.choice, row = r.row;
  check_shape(choice, probs.rows, choice.cols, "choose_experts choice");
  check_shape(row, probs.rows, choice.cols, "choose_experts row");
  Pairs pairs(probs.rows, probs.cols);
  typed([&]<class T>() {
    token_choice<T>(probs, groups, capacity, renormalise, choice, pairs);
    list_pairs<T>(pairs, probs.rows, r.offset, r.token, r.weight);
  });
  for (std::int64_t t = 0; t < row.rows; ++t)
    for (std::int64_t j = 0; j < row.cols; ++j) row(t, j) = pairs.row[pairs.at(t, choice(t, j))];
}

void Reference::choose_tokens(View probs, const Groups& groups, std::int64_t capacity,
                              Weight lowest, Routing& r) {
  check_groups(groups, probs);
  MOEBIUS_CHECK(capacity >= 1 && capacity <= groups.size,
                "[choose_tokens] capacity {} of groups of {} tokens", capacity, groups.size);
  Pairs pairs(probs.rows, probs.cols);
  typed([&]<class T>() {
    const Matrix<T> sums = value(lowest);
    if (!lowest.empty()) check_shape(sums, 1, probs.cols + 1, "choose_tokens lowest");
    expert_choice<T>(probs, groups, capacity, pairs, sums);
    list_pairs<T>(pairs, probs.rows, r.offset, r.token, r.weight);
  });
}

void Reference::follow_lowest(Weight threshold, Weight lowest, double keep) {
  typed([&]<class T>() {
    const Matrix<T> state = value(threshold), sums = value(lowest);
    check_shape(state, 1, sums.cols - 1, "follow_lowest threshold");
    const double count = sums(0, state.cols);
    if (count == 0) return;
    for (std::int64_t e = 0; e < state.cols; ++e) {
      const double score = sums(0, e) / count, old = state(0, e);
      state(0, e) = T(old > 0 ? old + (1 - keep) * (score - old) : score);
    }
    for (std::int64_t e = 0; e < sums.cols; ++e) sums(0, e) = 0;
  });
}

void Reference::choose_above(View probs, Weight threshold, Routing& r) {
  Pairs pairs(probs.rows, probs.cols);
  typed([&]<class T>() {
    const Matrix<T> state = value(threshold);
    check_shape(state, 1, probs.cols, "choose_above threshold");
    above<T>(probs, state, r.token.rows / probs.rows, pairs);
    list_pairs<T>(pairs, probs.rows, r.offset, r.token, r.weight);
  });
}

void Reference::choice_backward(View probs, const Routing& r, bool renormalise, View dweight,
                                View dprobs) {
  typed([&]<class T>() {
    check_shape<T>(dprobs, probs.rows, probs.cols, "choice_backward dprobs");
    if (renormalise)
      renormalised_backward<T>(probs, r.choice, r.row, dweight, dprobs);
    else
      plain_backward<T>(r.offset, r.token, dweight, dprobs);
  });
}

}  // namespace moebius::reference
