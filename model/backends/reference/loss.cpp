#include <algorithm>
#include <cmath>
#include <vector>

#include "model/backends/reference/reference.h"

namespace moebius::reference {
namespace {

// log sum_j exp(z_j) of n numbers.
template <class T>
double log_sum_exp(const T* z, std::int64_t n) {
  const double top = *std::max_element(z, z + n);
  double sum = 0;
  for (std::int64_t j = 0; j < n; ++j) sum += std::exp(z[j] - top);
  return top + std::log(sum);
}

// f_e of group g: share of its tokens whose first choice is e, before capacity.
std::vector<double> first_choice_shares(Indices choice, const Groups& groups, std::int64_t g,
                                        std::int64_t experts) {
  std::vector<double> share(static_cast<std::size_t>(experts));
  for (std::int64_t i = 0; i < groups.size; ++i) {
    const std::int64_t t = g * groups.group_stride + i * groups.token_stride;
    share[static_cast<std::size_t>(choice(t, 0))] += 1 / static_cast<double>(groups.size);
  }
  return share;
}

// E sum_e f_e P_e, mean over groups (GShard 2006.16668 as praxis computes it), P_e = mean of probs
// over the group's tokens; 1 at perfect balance.
template <class T>
double balance_loss(Matrix<T> probs, const Groups& groups, Indices choice) {
  double sum = 0;
  for (std::int64_t g = 0; g < groups.count; ++g) {
    const auto share = first_choice_shares(choice, groups, g, probs.cols);
    for (std::int64_t i = 0; i < groups.size; ++i)
      for (std::int64_t e = 0; e < probs.cols; ++e)
        sum += share[static_cast<std::size_t>(e)] *
               probs(g * groups.group_stride + i * groups.token_stride, e);
  }
  return sum * static_cast<double>(probs.cols) / static_cast<double>(probs.rows);
}

// dprobs[t, e] += factor E f_e / T; f has no gradient.
template <class T>
void balance_loss_backward(Matrix<T> dprobs, const Groups& groups, Indices choice, double factor) {
  factor *= static_cast<double>(dprobs.cols) / static_cast<double>(dprobs.rows);
  for (std::int64_t g = 0; g < groups.count; ++g) {
    const auto share = first_choice_shares(choice, groups, g, dprobs.cols);
    for (std::int64_t i = 0; i < groups.size; ++i)
      for (std::int64_t e = 0; e < dprobs.cols; ++e)
        dprobs(g * groups.group_stride + i * groups.token_stride, e) +=
            T(factor * share[static_cast<std::size_t>(e)]);
  }
}

// mean_t logsumexp(z_t)^2 (ST-MoE 2202.08906); its gradient is 2 lse_t p_te / T.
template <class T>
double z_loss(Matrix<T> logits) {
  double sum = 0;
  for (std::int64_t t = 0; t < logits.rows; ++t) {
    const double lse = log_sum_exp(logits.row(t), logits.cols);
    sum += lse * lse;
  }
  return sum / static_cast<double>(logits.rows);
}

template <class T>
void z_loss_backward(Matrix<T> logits, Matrix<T> probs, Matrix<T> dlogits, double factor) {
  for (std::int64_t t = 0; t < logits.rows; ++t) {
    const double lse = log_sum_exp(logits.row(t), logits.cols);
    for (std::int64_t e = 0; e < logits.cols; ++e)
      dlogits(t, e) += T(factor * 2 * lse * probs(t, e) / static_cast<double>(logits.rows));
  }
}

// z = h table^T, loss = logsumexp(z) - z[target]; dz = scale (softmax(z) - onehot),
// dh = dz table, dtable += dz^T h. h: [T, D], table: [V, D].
template <class T>
void cross_entropy_rows(Matrix<T> h, Matrix<T> table, Indices target, double scale, Doubles loss,
                        Matrix<T> dh, Matrix<T> dtable) {
  std::vector<double> z(static_cast<std::size_t>(table.rows));
  std::vector<double> sum(static_cast<std::size_t>(table.cols));  // of dh
  for (std::int64_t t = 0; t < h.rows; ++t) {
    // 1. Logits and loss.
    for (std::int64_t v = 0; v < table.rows; ++v) {
      double dot = 0;
      for (std::int64_t d = 0; d < h.cols; ++d) dot += double(h(t, d)) * table(v, d);
      z[static_cast<std::size_t>(v)] = dot;
    }
    const std::int64_t id = target(t, 0);
    MOEBIUS_CHECK(id >= 0 && id < table.rows, "[cross_entropy] target {} of {}", id, table.rows);
    const double lse = log_sum_exp(z.data(), table.rows);
    loss(t, 0) = lse - z[static_cast<std::size_t>(id)];
    if (dh.empty()) continue;

    // 2. Gradients of both factors.
    std::fill(sum.begin(), sum.end(), 0.0);
    for (std::int64_t v = 0; v < table.rows; ++v) {
      const double dz = scale * (std::exp(z[static_cast<std::size_t>(v)] - lse) - (v == id));
      for (std::int64_t d = 0; d < h.cols; ++d) {
        sum[static_cast<std::size_t>(d)] += dz * table(v, d);
        dtable(v, d) += T(dz * h(t, d));
      }
    }
    for (std::int64_t d = 0; d < h.cols; ++d) dh(t, d) = T(sum[static_cast<std::size_t>(d)]);
  }
}

}  // namespace

void Reference::router_losses(View logits, View probs, const Groups& groups, const Routing& r,
                              View statistics) {
  const Doubles sums = statistics;
  check_shape(sums, 1, 4, "router_losses statistics");
  typed([&]<class T>() {
    if (!r.choice.empty()) sums(0, 0) += balance_loss<T>(probs, groups, r.choice);
    sums(0, 1) += z_loss<T>(logits);
  });
  const auto kept = static_cast<double>(Indices(r.offset)(r.offset.rows - 1, 0));
  sums(0, 2) += kept;
  if (!r.choice.empty()) sums(0, 3) += static_cast<double>(r.choice.size()) - kept;
}

void Reference::router_losses_backward(View logits, View probs, const Groups& groups,
                                       const Routing& r, double aux, double z, View dprobs,
                                       View dlogits) {
  typed([&]<class T>() {
    if (aux != 0) balance_loss_backward<T>(dprobs, groups, r.choice, aux);
    if (z != 0) z_loss_backward<T>(logits, probs, dlogits, z);
  });
}

void Reference::cross_entropy(View h, Weight table, View target, double scale, View loss, View dh) {
  const bool backward = !dh.empty();
  for (int i = 0; i < (backward ? 3 : 1); ++i) log_->dense(h.rows, slot(table));  // z, dh, dtable
  typed([&]<class T>() {
    check_shape<T>(h, target.rows, slot(table).cols, "cross_entropy h");
    check_shape<double>(loss, h.rows, 1, "cross_entropy loss");
    cross_entropy_rows<T>(h, value(table), target, scale, loss, dh,
                          backward ? gradient(table) : View{});
  });
}

}  // namespace moebius::reference
