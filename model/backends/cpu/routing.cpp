#include <algorithm>
#include <limits>
#include <span>

#include "model/backends/cpu/cpu.h"
#include "model/backends/cpu/select.h"

namespace moebius::cpu {
namespace {

constexpr double kRenormEpsilon = 1e-9;

std::int64_t token_of(const Groups& groups, std::int64_t g, std::int64_t i) {
  return g * groups.group_stride + i * groups.token_stride;
}

// An integer that orders as (score falling, index rising): larger is better. NaN counts as -1, less
// than any probability.
std::uint64_t rank_key(float score, std::int64_t index) {
  const std::uint32_t rising = static_cast<std::uint32_t>(order_key(score)) ^ 0x80000000u;
  return std::uint64_t{rising} << 32 | (0xffffffffu - static_cast<std::uint32_t>(index));
}
std::int64_t index_of(std::uint64_t key) {
  return static_cast<std::int64_t>(0xffffffffu - static_cast<std::uint32_t>(key));
}

// The `count` best of n indices, best first: insertion, for the handful of experts of a token.
template <class Score>
void best_few(std::int64_t n, std::int64_t count, const Score& score, std::uint64_t* best) {
  std::int64_t taken = 0;
  for (std::int64_t i = 0; i < n; ++i) {
    const std::uint64_t key = rank_key(score(i), i);
    if (taken == count && (count == 0 || key < best[count - 1])) continue;
    std::int64_t at = taken < count ? taken++ : count - 1;
    for (; at > 0 && best[at - 1] < key; --at) best[at] = best[at - 1];
    best[at] = key;
  }
}

// Room for `pairs` pairs, and the first row of every expert from its count.
void place_experts(std::span<const std::int32_t> count, const Routing& r) {
  const Ints offset = r.offset;
  check_shape(offset, std::ssize(count) + 1, 1, "routing offset");
  check_shape(Floats(r.weight), r.token.rows, 1, "routing weight");
  *offset.row(0) = 0;
  for (std::int64_t e = 0; e < std::ssize(count); ++e)
    *offset.row(e + 1) = *offset.row(e) + count[static_cast<std::size_t>(e)];
  MOEBIUS_CHECK(*offset.row(std::ssize(count)) <= r.token.rows,
                "[routing] {} pairs exceed the bound of {} rows", *offset.row(std::ssize(count)),
                r.token.rows);
}

void put(const Routing& r, std::int32_t row, std::int64_t token, float weight) {
  *Ints(r.token).row(row) = static_cast<std::int32_t>(token);
  *Floats(r.weight).row(row) = weight;
}

void check_groups(const Groups& groups, const Floats& probs) {
  MOEBIUS_CHECK(groups.count * groups.size == probs.rows, "[routing] {} groups of {} of {} tokens",
                groups.count, groups.size, probs.rows);
}

// Fills every expert's slots choice by choice in token order; row = 0 for what fits, -1 for what is
// dropped. count += pairs of each expert; `used` is room for as many numbers.
void fill_slots(const Groups& groups, std::int64_t capacity, const Ints& choice, const Ints& row,
                std::span<std::int32_t> count, std::span<std::int32_t> used) {
  for (std::int64_t g = 0; g < groups.count; ++g) {
    std::fill(used.begin(), used.end(), 0);
    for (std::int64_t j = 0; j < choice.cols; ++j)
      for (std::int64_t i = 0; i < groups.size; ++i) {
        const std::int64_t t = token_of(groups, g, i);
        const auto e = static_cast<std::size_t>(choice.row(t)[j]);
        const bool fits = capacity < 0 || used[e] < capacity;
        row.row(t)[j] = fits ? 0 : -1;
        used[e] += fits;
        count[e] += fits;
      }
  }
}

}  // namespace

void Cpu::choose_experts(View probs_view, const Groups& groups, std::int64_t capacity,
                         bool renormalise, Routing& r) {
  const Floats probs = probs_view;
  const Ints choice = r.choice, row = r.row;
  const std::int64_t k = choice.cols;
  check_groups(groups, probs);
  MOEBIUS_CHECK(k >= 1 && k <= probs.cols, "[choose_experts] {} choices of {} experts", k,
                probs.cols);
  check_shape(choice, probs.rows, k, "choose_experts choice");
  check_shape(row, probs.rows, k, "choose_experts row");
  Arrays arrays(crew_, 8 * k + 3 * 4 * probs.cols);
  const std::span best = arrays.take<std::uint64_t>(k);
  const std::span count = arrays.take<std::int32_t>(probs.cols);
  for (std::int64_t t = 0; t < probs.rows; ++t) {
    best_few(
        probs.cols, k, [&](std::int64_t e) { return probs.row(t)[e]; }, best.data());
    for (std::int64_t j = 0; j < k; ++j)
      choice.row(t)[j] = static_cast<std::int32_t>(index_of(best[static_cast<std::size_t>(j)]));
  }
  fill_slots(groups, capacity, choice, row, count, arrays.take<std::int32_t>(probs.cols));
  place_experts(count, r);
  const std::span next = arrays.take<std::int32_t>(probs.cols);  // free row of each expert
  for (std::size_t e = 0; e < next.size(); ++e)
    next[e] = *Ints(r.offset).row(static_cast<std::int64_t>(e));
  for (std::int64_t t = 0; t < probs.rows; ++t) {
    double sum = kRenormEpsilon;
    for (std::int64_t j = 0; j < k; ++j) sum += probs.row(t)[choice.row(t)[j]];
    for (std::int64_t j = 0; j < k; ++j) {
      if (row.row(t)[j] < 0) continue;
      const std::int32_t e = choice.row(t)[j];
      const float p = probs.row(t)[e];
      row.row(t)[j] = next[static_cast<std::size_t>(e)]++;
      put(r, row.row(t)[j], t, renormalise ? static_cast<float>(p / sum) : p);
    }
  }
}

void Cpu::choose_tokens(View probs_view, const Groups& groups, std::int64_t capacity, Weight lowest,
                        Routing& r) {
  const Floats probs = probs_view, sums = value(lowest);
  check_groups(groups, probs);
  if (!sums.empty()) check_shape(sums, 1, probs.cols + 1, "choose_tokens lowest");
  MOEBIUS_CHECK(capacity >= 1 && capacity <= groups.size,
                "[choose_tokens] capacity {} of groups of {} tokens", capacity, groups.size);
  const std::int64_t per_expert = groups.count * capacity;
  const std::span each = Arrays(crew_, 4 * probs.cols).take<std::int32_t>(probs.cols);
  std::fill(each.begin(), each.end(), static_cast<std::int32_t>(per_expert));
  place_experts(each, r);
  crew_.ranges(probs.cols, Crew::grain(probs.rows), [&](std::int64_t begin, std::int64_t end) {
    Arrays arrays(crew_, 4 * groups.size + 4 * per_expert);
    const std::span keys = arrays.take<std::int32_t>(groups.size);
    const std::span taken = arrays.take<std::int32_t>(per_expert);
    for (std::int64_t e = begin; e < end; ++e) {
      for (std::int64_t g = 0; g < groups.count; ++g) {
        const auto score = [&](std::int64_t i) { return probs.row(token_of(groups, g, i))[e]; };
        for (std::int64_t i = 0; i < groups.size; ++i)
          keys[static_cast<std::size_t>(i)] = order_key(score(i));
        const std::span best = taken.subspan(static_cast<std::size_t>(g * capacity),
                                             static_cast<std::size_t>(capacity));
        take_best(keys, best);
        float last = std::numeric_limits<float>::infinity();
        for (std::int32_t& i : best) {
          last = std::min(last, score(i));
          i = static_cast<std::int32_t>(token_of(groups, g, i));
        }
        if (!sums.empty()) sums.row(0)[e] += last;
      }
      if (groups.token_stride != 1) std::sort(taken.begin(), taken.end());
      auto row = static_cast<std::int32_t>(e * per_expert);
      for (const std::int32_t t : taken) put(r, row++, t, probs.row(t)[e]);
    }
  });
  if (!sums.empty()) sums.row(0)[probs.cols] += static_cast<float>(groups.count);
}

void Cpu::follow_lowest(Weight threshold, Weight lowest, double keep) {
  const Floats state = value(threshold), sums = value(lowest);
  check_shape(state, 1, sums.cols - 1, "follow_lowest threshold");
  const double count = sums.row(0)[state.cols];
  if (count == 0) return;
  for (std::int64_t e = 0; e < state.cols; ++e) {
    const double score = sums.row(0)[e] / count, old = state.row(0)[e];
    state.row(0)[e] = static_cast<float>(old > 0 ? old + (1 - keep) * (score - old) : score);
  }
  std::fill_n(sums.row(0), sums.cols, 0.0f);
}

void Cpu::choose_above(View probs_view, Weight threshold, Routing& r) {
  const Floats probs = probs_view, state = value(threshold);
  check_shape(state, 1, probs.cols, "choose_above threshold");
  const std::int64_t most = std::min(r.token.rows / probs.rows, probs.cols);  // experts of a token
  Arrays arrays(crew_, 8 * most + 4 * probs.cols + probs.rows * probs.cols);
  const std::span best = arrays.take<std::uint64_t>(most);
  const std::span count = arrays.take<std::int32_t>(probs.cols);
  const std::span chosen = arrays.take<std::uint8_t>(probs.rows * probs.cols);
  for (std::int64_t t = 0; t < probs.rows; ++t) {
    const float* p = probs.row(t);
    const auto above = [&](std::int64_t e) { return p[e] > state.row(0)[e]; };
    best_few(
        probs.cols, most, [&](std::int64_t e) { return above(e) ? p[e] : -1.0f; }, best.data());
    for (const std::uint64_t key : best) {
      if (!above(index_of(key))) continue;
      ++count[static_cast<std::size_t>(index_of(key))];
      chosen[static_cast<std::size_t>(t * probs.cols + index_of(key))] = 1;
    }
  }
  place_experts(count, r);
  std::int32_t row = 0;
  for (std::int64_t e = 0; e < probs.cols; ++e)
    for (std::int64_t t = 0; t < probs.rows; ++t)
      if (chosen[static_cast<std::size_t>(t * probs.cols + e)] != 0)
        put(r, row++, t, probs.row(t)[e]);
}

// Gates g_i = p_i / s, s = sum_j p_j + 1e-9 over the chosen experts of a token:
// dp_i += (dg_i - sum_j g_j dg_j) / s, where dg of a dropped pair is zero; or plain, dp += dg.
void Cpu::choice_backward(View probs_view, const Routing& r, bool renormalise, View dweight_view,
                          View dprobs_view) {
  const Floats probs = probs_view, dweight = dweight_view, dprobs = dprobs_view;
  const Ints offset = r.offset, token = r.token, choice = r.choice, row = r.row;
  check_shape(dprobs, probs.rows, probs.cols, "choice_backward dprobs");
  if (!renormalise) {
    for (std::int64_t e = 0; e < probs.cols; ++e)
      for (std::int64_t p = *offset.row(e); p < *offset.row(e + 1); ++p)
        dprobs.row(*token.row(p))[e] += *dweight.row(p);
    return;
  }
  for (std::int64_t t = 0; t < probs.rows; ++t) {
    const auto dgate = [&](std::int64_t j) {
      return row.row(t)[j] < 0 ? 0.0 : double{*dweight.row(row.row(t)[j])};
    };
    double sum = kRenormEpsilon, weighted = 0;
    for (std::int64_t j = 0; j < choice.cols; ++j) {
      const double p = probs.row(t)[choice.row(t)[j]];
      sum += p;
      weighted += p * dgate(j);
    }
    for (std::int64_t j = 0; j < choice.cols; ++j)
      dprobs.row(t)[choice.row(t)[j]] += static_cast<float>((dgate(j) - weighted / sum) / sum);
  }
}

}  // namespace moebius::cpu
