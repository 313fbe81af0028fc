#include <algorithm>
#include <cmath>
#include <limits>
#include <vector>

#include "model/backends/reference/reference.h"

namespace moebius::reference {
namespace {

// (x_2i, x_2i+1) of each head turns by s base^(-2i/K), inverse: by minus that (RoPE, 2104.09864).
template <class T>
void rotate_rows(Matrix<T> x, std::int64_t seq, std::int64_t heads, double base, bool inverse) {
  const std::int64_t width = x.cols / heads;  // K
  MOEBIUS_CHECK(width * heads == x.cols && width % 2 == 0,
                "[rotate] {} columns of {} heads: the head width must be even", x.cols, heads);
  for (std::int64_t t = 0; t < x.rows; ++t)
    for (std::int64_t c = 0; c < x.cols; c += 2) {
      const double exponent = -static_cast<double>(c % width) / static_cast<double>(width);
      const double angle = static_cast<double>(t % seq) * std::pow(base, exponent);
      const double cosine = std::cos(angle), sine = inverse ? -std::sin(angle) : std::sin(angle);
      const double even = x(t, c), odd = x(t, c + 1);
      x(t, c) = T(even * cosine - odd * sine);
      x(t, c + 1) = T(even * sine + odd * cosine);
    }
}

// y[s] = sum_{j<3, j<=s} taps[j] x[s-j] per channel (Primer, 2109.08668); taps: [3, cols].
template <class T>
void conv_rows(Matrix<T> x, std::int64_t seq, Matrix<T> taps, Matrix<T> y) {
  check_shape(y, x.rows, x.cols, "causal_conv y");
  check_shape(taps, taps.rows, x.cols, "causal_conv taps");
  for (std::int64_t t = 0; t < x.rows; ++t)
    for (std::int64_t c = 0; c < x.cols; ++c) {
      double sum = 0;
      for (std::int64_t j = 0; j < taps.rows && j <= t % seq; ++j)
        sum += double(taps(j, c)) * x(t - j, c);
      y(t, c) = T(sum);
    }
}

// dx[s] = sum_{j<3, s+j<S} taps[j] dy[s+j], dtaps[j] += sum_s dy[s] x[s-j].
template <class T>
void conv_rows_backward(Matrix<T> x, std::int64_t seq, Matrix<T> taps, Matrix<T> dy, Matrix<T> dx,
                        Matrix<T> dtaps) {
  check_shape(dx, x.rows, x.cols, "causal_conv_backward dx");
  for (std::int64_t t = 0; t < x.rows; ++t)
    for (std::int64_t c = 0; c < x.cols; ++c) {
      double sum = 0;
      for (std::int64_t j = 0; j < taps.rows && t % seq + j < seq; ++j)
        sum += double(taps(j, c)) * dy(t + j, c);
      dx(t, c) = T(sum);
    }
  for (std::int64_t j = 0; j < taps.rows; ++j)
    for (std::int64_t c = 0; c < x.cols; ++c) {
      double sum = 0;
      for (std::int64_t t = 0; t < x.rows; ++t)
        if (t % seq >= j) sum += double(dy(t, c)) * x(t - j, c);
      dtaps(j, c) += T(sum);
    }
}

// One head of one sequence: [S, K] blocks of the [B*S, H*K] buffers.
struct Head {
  std::int64_t index;  // h
  std::int64_t row;    // b S
  std::int64_t col;    // h K
};

template <class Kernel>
void each_head(const AttentionShape& a, Kernel&& kernel) {
  for (std::int64_t b = 0; b < a.batch; ++b)
    for (std::int64_t h = 0; h < a.heads; ++h) kernel(Head{h, b * a.seq, h * a.head_dim});
}

// z_ij = scale q_i . k_j + bias[bucket(i - j), h] for j <= i.
template <class T>
double score(const AttentionShape& a, const Head& head, Matrix<T> q, Matrix<T> k, Matrix<T> bias,
             std::int64_t i, std::int64_t j) {
  double dot = 0;
  for (std::int64_t c = head.col; c < head.col + a.head_dim; ++c)
    dot += double(q(head.row + i, c)) * k(head.row + j, c);
  return a.scale * dot + (bias.empty() ? 0 : bias(relative_bucket(i - j), head.index));
}

// p_ij = softmax_{j<=i}(z_ij), o_i = sum_j p_ij v_j, lse_i = log sum_j exp(z_ij).
// q, k, v, o: [T, H*K], lse: [T, H], bias: [32, H] or empty.
template <class T>
void attend_rows(const AttentionShape& a, Matrix<T> q, Matrix<T> k, Matrix<T> v, Matrix<T> bias,
                 Matrix<T> o, Matrix<T> lse) {
  std::vector<double> z(static_cast<std::size_t>(a.seq)), sum(static_cast<std::size_t>(a.head_dim));
  each_head(a, [&](const Head& head) {
    for (std::int64_t i = 0; i < a.seq; ++i) {
      double top = -std::numeric_limits<double>::infinity();
      for (std::int64_t j = 0; j <= i; ++j) {
        z[static_cast<std::size_t>(j)] = score(a, head, q, k, bias, i, j);
        top = std::max(top, z[static_cast<std::size_t>(j)]);
      }
      double total = 0;
      std::fill(sum.begin(), sum.end(), 0.0);
      for (std::int64_t j = 0; j <= i; ++j) {
        const double weight = std::exp(z[static_cast<std::size_t>(j)] - top);
        total += weight;
        const T* values = v.row(head.row + j) + head.col;
        for (std::size_t c = 0; c < sum.size(); ++c) sum[c] += weight * values[c];
      }
      T* out = o.row(head.row + i) + head.col;
      for (std::size_t c = 0; c < sum.size(); ++c) out[c] = T(sum[c] / total);
      lse(head.row + i, head.index) = T(top + std::log(total));
    }
  });
}

// With p_ij = exp(z_ij - lse_i) recomputed and delta_i = do_i . o_i:
//   dv_j = sum_i p_ij do_i,  dz_ij = p_ij (do_i . v_j - delta_i),
//   dq_i = scale sum_j dz_ij k_j,  dk_j = scale sum_i dz_ij q_i,  dbias[bucket(i - j), h] += dz_ij.
template <class T>
void attend_rows_backward(const AttentionShape& a, Matrix<T> q, Matrix<T> k, Matrix<T> v,
                          Matrix<T> bias, Matrix<T> o, Matrix<T> lse, Matrix<T> dout, Matrix<T> dq,
                          Matrix<T> dk, Matrix<T> dv, Matrix<T> dbias) {
  const auto width = a.head_dim;
  std::vector<double> sum_q(static_cast<std::size_t>(width));                // of dq_i
  std::vector<double> sum_k(static_cast<std::size_t>(a.seq * width));        // of dk, [S, K]
  std::vector<double> sum_v(sum_k.size());                                   // of dv, [S, K]
  std::vector<double> sum_bias(static_cast<std::size_t>(kRelativeBuckets));  // of dbias[., h]
  each_head(a, [&](const Head& head) {
    for (auto* sums : {&sum_k, &sum_v, &sum_bias}) std::fill(sums->begin(), sums->end(), 0.0);
    for (std::int64_t i = 0; i < a.seq; ++i) {
      const T* grad = dout.row(head.row + i) + head.col;
      const T* query = q.row(head.row + i) + head.col;
      double delta = 0;
      for (std::int64_t c = 0; c < width; ++c)
        delta += double(grad[c]) * o(head.row + i, head.col + c);
      std::fill(sum_q.begin(), sum_q.end(), 0.0);
      for (std::int64_t j = 0; j <= i; ++j) {
        const T* key = k.row(head.row + j) + head.col;
        const T* value = v.row(head.row + j) + head.col;
        double dp = 0;
        for (std::int64_t c = 0; c < width; ++c) dp += double(grad[c]) * value[c];
        const double p = std::exp(score(a, head, q, k, bias, i, j) - lse(head.row + i, head.index));
        const double dz = p * (dp - delta);
        double* to_k = sum_k.data() + j * width;
        double* to_v = sum_v.data() + j * width;
        for (std::int64_t c = 0; c < width; ++c) {
          sum_q[static_cast<std::size_t>(c)] += dz * key[c];
          to_k[c] += dz * query[c];
          to_v[c] += p * grad[c];
        }
        sum_bias[static_cast<std::size_t>(relative_bucket(i - j))] += dz;
      }
      for (std::int64_t c = 0; c < width; ++c)
        dq(head.row + i, head.col + c) = T(a.scale * sum_q[static_cast<std::size_t>(c)]);
    }
    for (std::int64_t j = 0; j < a.seq; ++j)
      for (std::int64_t c = 0; c < width; ++c) {
        dk(head.row + j, head.col + c) =
            T(a.scale * sum_k[static_cast<std::size_t>(j * width + c)]);
        dv(head.row + j, head.col + c) = T(sum_v[static_cast<std::size_t>(j * width + c)]);
      }
    for (std::int64_t bucket = 0; bucket < dbias.rows; ++bucket)
      dbias(bucket, head.index) += T(sum_bias[static_cast<std::size_t>(bucket)]);
  });
}

template <class T>
void check_attention(const AttentionShape& a, std::initializer_list<Matrix<T>> rows, Matrix<T> bias,
                     Matrix<T> lse) {
  for (const Matrix<T>& m : rows)
    check_shape(m, a.batch * a.seq, a.heads * a.head_dim, "attention rows");
  check_shape(lse, a.batch * a.seq, a.heads, "attention lse");
  if (!bias.empty()) check_shape(bias, kRelativeBuckets, a.heads, "attention bias");
}

}  // namespace

void Reference::rotate(View x, std::int64_t seq, std::int64_t heads, double base, bool inverse) {
  typed([&]<class T>() { rotate_rows<T>(x, seq, heads, base, inverse); });
}

void Reference::causal_conv(View x, std::int64_t seq, Weight taps, View y) {
  typed([&]<class T>() { conv_rows<T>(x, seq, value(taps), y); });
}

void Reference::causal_conv_backward(View x, std::int64_t seq, Weight taps, View dy, View dx) {
  typed([&]<class T>() { conv_rows_backward<T>(x, seq, value(taps), dy, dx, gradient(taps)); });
}

void Reference::attend(const AttentionShape& shape, View q, View k, View v, Weight bias, View o,
                       View lse) {
  log_->attention(shape, 1);
  typed([&]<class T>() {
    check_attention<T>(shape, {q, k, v, o}, value(bias), lse);
    attend_rows<T>(shape, q, k, v, value(bias), o, lse);
  });
}

void Reference::attend_backward(const AttentionShape& shape, View q, View k, View v, Weight bias,
                                View o, View lse, View do_, View dq, View dk, View dv) {
  log_->attention(shape, 2);
  typed([&]<class T>() {
    check_attention<T>(shape, {q, k, v, o, do_, dq, dk, dv}, value(bias), lse);
    attend_rows_backward<T>(shape, q, k, v, value(bias), o, lse, do_, dq, dk, dv, gradient(bias));
  });
}

}  // namespace moebius::reference
