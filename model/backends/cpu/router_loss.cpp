#include <algorithm>
#include <cmath>
#include <span>

#include "model/backends/cpu/cpu.h"

namespace moebius::cpu {
namespace {

// log sum_e exp(z_e) from the softmax p of z: z_m - log p_m at the largest p_m.
double log_sum_exp(const float* logits, const float* probs, std::int64_t n) {
  const std::int64_t top = std::max_element(probs, probs + n) - probs;
  return double{logits[top]} - std::log(double{probs[top]});
}

// visit(t, f) for every token t, f [E] being the shares of first choices in its group.
template <class Visit>
void each_token(const Ints& choice, const Groups& groups, std::span<double> share,
                const Visit& visit) {
  for (std::int64_t g = 0; g < groups.count; ++g) {
    const auto token = [&](std::int64_t i) {
      return g * groups.group_stride + i * groups.token_stride;
    };
    std::fill(share.begin(), share.end(), 0.0);
    for (std::int64_t i = 0; i < groups.size; ++i)
      share[static_cast<std::size_t>(*choice.row(token(i)))] +=
          1 / static_cast<double>(groups.size);
    for (std::int64_t i = 0; i < groups.size; ++i) visit(token(i), share.data());
  }
}

}  // namespace

// Load balance E sum_e f_e P_e (GShard, 2006.16668), mean over groups; z: mean_t lse_t^2 (ST-MoE,
// 2202.08906).
void Cpu::router_losses(View logits_view, View probs_view, const Groups& groups, const Routing& r,
                        View statistics) {
  const Floats logits = logits_view, probs = probs_view;
  const Doubles sums = statistics;
  check_shape(sums, 1, 4, "router_losses statistics");
  const auto tokens = static_cast<double>(probs.rows);
  const auto kept = static_cast<double>(*Ints(r.offset).row(r.offset.rows - 1));
  double balance = 0, z = 0;
  if (!r.choice.empty())
    each_token(r.choice, groups, Arrays(crew_, 8 * probs.cols).take<double>(probs.cols),
               [&](std::int64_t t, const double* share) {
                 for (std::int64_t e = 0; e < probs.cols; ++e)
                   balance += share[e] * probs.row(t)[e];
               });
  for (std::int64_t t = 0; t < probs.rows; ++t)
    z += std::pow(log_sum_exp(logits.row(t), probs.row(t), probs.cols), 2);
  sums.data[0] += balance * static_cast<double>(probs.cols) / tokens;
  sums.data[1] += z / tokens;
  sums.data[2] += kept;
  if (!r.choice.empty()) sums.data[3] += static_cast<double>(r.choice.size()) - kept;
}

// dprobs[t, e] += aux E f_e / T, dlogits[t, e] += z 2 lse_t p_te / T.
void Cpu::router_losses_backward(View logits_view, View probs_view, const Groups& groups,
                                 const Routing& r, double aux, double z, View dprobs_view,
                                 View dlogits_view) {
  const Floats logits = logits_view, probs = probs_view;
  const Floats dprobs = dprobs_view, dlogits = dlogits_view;
  const auto tokens = static_cast<double>(probs.rows);
  if (aux != 0) {
    const double factor = aux * static_cast<double>(probs.cols) / tokens;
    each_token(r.choice, groups, Arrays(crew_, 8 * probs.cols).take<double>(probs.cols),
               [&](std::int64_t t, const double* share) {
                 for (std::int64_t e = 0; e < probs.cols; ++e)
                   dprobs.row(t)[e] += static_cast<float>(factor * share[e]);
               });
  }
  if (z == 0) return;
  for (std::int64_t t = 0; t < probs.rows; ++t) {
    const double lse = log_sum_exp(logits.row(t), probs.row(t), probs.cols);
    for (std::int64_t e = 0; e < probs.cols; ++e)
      dlogits.row(t)[e] += static_cast<float>(z * 2 * lse / tokens * probs.row(t)[e]);
  }
}

}  // namespace moebius::cpu
