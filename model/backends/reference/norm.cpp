#include <algorithm>
#include <cmath>

#include "model/backends/reference/reference.h"

namespace moebius::reference {
namespace {

constexpr double kNormEpsilon = 1e-6;

// x += residual; y = x rstd gain, rstd = 1 / sqrt(mean_d x_d^2 + 1e-6) (RMSNorm, 1910.07467).
// x, residual (or empty), y: [T, D], gain: [1, D], rstd: [T, 1].
template <class T>
void rms_norm_rows(Matrix<T> x, Matrix<T> residual, Matrix<T> gain, Matrix<T> y, Matrix<T> rstd) {
  if (!residual.empty()) check_shape(residual, x.rows, x.cols, "rms_norm residual");
  check_shape(y, x.rows, x.cols, "rms_norm y");
  check_shape(gain, 1, x.cols, "rms_norm gain");
  check_shape(rstd, x.rows, 1, "rms_norm rstd");
  for (std::int64_t t = 0; t < x.rows; ++t) {
    for (std::int64_t d = 0; d < residual.cols; ++d) x(t, d) += residual(t, d);
    double sum = 0;
    for (std::int64_t d = 0; d < x.cols; ++d) sum += double(x(t, d)) * x(t, d);
    const double r = 1 / std::sqrt(sum / static_cast<double>(x.cols) + kNormEpsilon);
    rstd(t, 0) = T(r);
    for (std::int64_t d = 0; d < x.cols; ++d) y(t, d) = T(x(t, d) * r * gain(0, d));
  }
}

// With xhat = x rstd and u = gain dy: dgain += dy xhat, dx += rstd (u - xhat mean_d(u xhat)).
template <class T>
void rms_norm_rows_backward(Matrix<T> x, Matrix<T> gain, Matrix<T> rstd, Matrix<T> dy, Matrix<T> dx,
                            Matrix<T> dgain) {
  check_shape(dy, x.rows, x.cols, "rms_norm_backward dy");
  check_shape(dx, x.rows, x.cols, "rms_norm_backward dx");
  for (std::int64_t t = 0; t < x.rows; ++t) {
    const double r = rstd(t, 0);
    double mean = 0;  // of u xhat
    for (std::int64_t d = 0; d < x.cols; ++d) mean += double(gain(0, d)) * dy(t, d) * x(t, d) * r;
    mean /= static_cast<double>(x.cols);
    for (std::int64_t d = 0; d < x.cols; ++d) {
      const double xhat = x(t, d) * r;
      dgain(0, d) += T(dy(t, d) * xhat);
      dx(t, d) += T(r * (double(gain(0, d)) * dy(t, d) - xhat * mean));
    }
  }
}

// p_e = exp(z_e - max z) / sum; logits z, probs p: [T, E].
template <class T>
void softmax_rows(Matrix<T> logits, Matrix<T> probs) {
  check_shape(probs, logits.rows, logits.cols, "softmax probs");
  for (std::int64_t t = 0; t < logits.rows; ++t) {
    const double top = *std::max_element(logits.row(t), logits.row(t) + logits.cols);
    double sum = 0;
    for (std::int64_t e = 0; e < logits.cols; ++e) sum += std::exp(logits(t, e) - top);
    for (std::int64_t e = 0; e < logits.cols; ++e)
      probs(t, e) = T(std::exp(logits(t, e) - top) / sum);
  }
}

// dz_e += p_e (dp_e - sum_i p_i dp_i).
template <class T>
void softmax_rows_backward(Matrix<T> probs, Matrix<T> dprobs, Matrix<T> dlogits) {
  check_shape(dlogits, probs.rows, probs.cols, "softmax_backward dlogits");
  for (std::int64_t t = 0; t < probs.rows; ++t) {
    double dot = 0;
    for (std::int64_t e = 0; e < probs.cols; ++e) dot += double(probs(t, e)) * dprobs(t, e);
    for (std::int64_t e = 0; e < probs.cols; ++e)
      dlogits(t, e) += T(probs(t, e) * (dprobs(t, e) - dot));
  }
}

}  // namespace

void Reference::rms_norm(View x, View residual, Weight gain, View y, View rstd) {
  typed([&]<class T>() { rms_norm_rows<T>(x, residual, value(gain), y, rstd); });
}

void Reference::rms_norm_backward(View x, Weight gain, View rstd, View dy, View dx, View rounded) {
  typed([&]<class T>() {
    rms_norm_rows_backward<T>(x, value(gain), rstd, dy, dx, gradient(gain));
    const Matrix<T> from = dx, to = rounded;  // operands are not rounded here
    if (!to.empty()) check_shape(to, from.rows, from.cols, "rms_norm_backward rounded");
    for (std::int64_t t = 0; t < to.rows; ++t) std::copy_n(from.row(t), to.cols, to.row(t));
  });
}

void Reference::softmax(View logits, View probs) {
  typed([&]<class T>() { softmax_rows<T>(logits, probs); });
}

void Reference::softmax_backward(View probs, View dprobs, View dlogits) {
  typed([&]<class T>() { softmax_rows_backward<T>(probs, dprobs, dlogits); });
}

}  // namespace moebius::reference
