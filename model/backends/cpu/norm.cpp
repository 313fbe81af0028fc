#include <cmath>

#include "model/backends/cpu/cpu.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "model/backends/cpu/norm.cpp"
#include "model/backends/cpu/foreach_level.h"  // includes this file once per instruction level

#include "model/backends/cpu/simd-inl.h"

HWY_BEFORE_NAMESPACE();
namespace moebius::cpu::N_LEVEL {

// to += from. -> sum of its squares
HWY_INLINE float add_and_square(const float* from, float* to, std::int64_t n) {
  Vec sum = zero();
  each(n, [&](auto part, std::int64_t i) HWY_ATTR {
    const Vec x = hn::Add(part.load(from + i), part.load(to + i));
    part.store(x, to + i);
    sum = hn::MulAdd(x, x, sum);
  });
  return sum_of(sum);
}

// x += residual; y = x rstd gain, rstd = 1 / sqrt(mean_d x_d^2 + 1e-6) (RMSNorm, 1910.07467).
// x, residual (or empty), y: [rows, D], gain: [1, D], rstd: [rows, 1]. The second look at a row
// finds it in L1.
template <class T>
void norm_typed(const Floats& x, const Floats& residual, const float* gain, const Matrix<T>& y,
                const Floats& rstd) {
  constexpr float kEpsilon = 1e-6f;
  for (std::int64_t t = 0; t < x.rows; ++t) {
    float* const from = x.row(t);
    T* to = y.row(t);
    const float squares =
        residual.empty() ? dot(from, from, x.cols) : add_and_square(residual.row(t), from, x.cols);
    const float mean = squares / static_cast<float>(x.cols);
    const float r = 1 / std::sqrt(mean + kEpsilon);
    *rstd.row(t) = r;
    each(x.cols, [&](auto part, std::int64_t d) HWY_ATTR {
      part.store(hn::Mul(hn::Mul(part.load(from + d), all(r)), part.load(gain + d)), to + d);
    });
  }
}

void norm_rows(const Floats& x, const Floats& residual, const float* gain, const View& y,
               const Floats& rstd) {
  typed(y.dtype, [&]<class T>() { norm_typed<T>(x, residual, gain, y, rstd); });
}

// With xhat = x rstd and u = gain dy: dgain = sum_t dy xhat, dx += rstd (u - xhat mean_d(u xhat)),
// rounded = dx unless empty.
template <class T>
void norm_backward_typed(const Floats& x, const float* gain, const Floats& rstd, const Floats& dy,
                         const Floats& dx, const Matrix<T>& rounded, float* dgain) {
  const bool copies = !rounded.empty();
  std::fill_n(dgain, x.cols, 0.0f);
  for (std::int64_t t = 0; t < x.rows; ++t) {
    const float *from = x.row(t), *grad = dy.row(t);
    float* const to = dx.row(t);
    T* const copy = rounded.row(t);
    const Vec r = all(*rstd.row(t));
    Vec sum = zero();  // of u xhat
    each(x.cols, [&](auto part, std::int64_t d) HWY_ATTR {
      const Vec slope = hn::Mul(part.load(grad + d), hn::Mul(part.load(from + d), r));
      part.store(hn::Add(part.load(dgain + d), slope), dgain + d);
      sum = hn::MulAdd(slope, part.load(gain + d), sum);
    });
    const Vec mean = all(sum_of(sum) / static_cast<float>(x.cols));
    each(x.cols, [&](auto part, std::int64_t d) HWY_ATTR {
      const Vec u = hn::Mul(part.load(gain + d), part.load(grad + d));
      const Vec xhat = hn::Mul(part.load(from + d), r);
      const Vec whole = hn::MulAdd(r, hn::NegMulAdd(xhat, mean, u), part.load(to + d));
      part.store(whole, to + d);
      if (copies) part.store(whole, copy + d);
    });
  }
}

void norm_rows_backward(const Floats& x, const float* gain, const Floats& rstd, const Floats& dy,
                        const Floats& dx, const View& rounded, float* dgain) {
  typed(rounded.dtype,
        [&]<class T>() { norm_backward_typed<T>(x, gain, rstd, dy, dx, rounded, dgain); });
}

// p_e = exp(z_e - max z) / sum; logits z, probs p: [rows, E].
void softmax_rows(const Floats& logits, const Floats& probs) {
  for (std::int64_t t = 0; t < logits.rows; ++t) {
    const float* from = logits.row(t);
    float* to = probs.row(t);
    const Vec top = all(maximum(from, logits.cols));
    Vec sum = zero();
    each(logits.cols, [&](auto part, std::int64_t e) HWY_ATTR {
      const Vec p = part.keep(exp_of(hn::Sub(part.load(from + e), top)), 0);
      sum = hn::Add(sum, p);
      part.store(p, to + e);
    });
    const Vec total = all(sum_of(sum));
    each(logits.cols, [&](auto part, std::int64_t e)
                          HWY_ATTR { part.store(hn::Div(part.load(to + e), total), to + e); });
  }
}

// dz_e += p_e (dp_e - sum_i p_i dp_i).
void softmax_rows_backward(const Floats& probs, const Floats& dprobs, const Floats& dlogits) {
  for (std::int64_t t = 0; t < probs.rows; ++t) {
    const float *p = probs.row(t), *dp = dprobs.row(t);
    float* to = dlogits.row(t);
    const Vec mean = all(dot(p, dp, probs.cols));
    each(probs.cols, [&](auto part, std::int64_t e) HWY_ATTR {
      const Vec slope = hn::Sub(part.load(dp + e), mean);
      part.store(hn::MulAdd(part.load(p + e), slope, part.load(to + e)), to + e);
    });
  }
}

}  // namespace moebius::cpu::N_LEVEL
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace moebius::cpu {
namespace {

MOEBIUS_EXPORT(norm_rows);
MOEBIUS_EXPORT(norm_rows_backward);
MOEBIUS_EXPORT(softmax_rows);
MOEBIUS_EXPORT(softmax_rows_backward);

}  // namespace

void Cpu::rms_norm(View x_view, View residual_view, Weight gain_weight, View y, View rstd_view) {
  const Floats x = x_view, residual = residual_view, gain = value(gain_weight), rstd = rstd_view;
  if (!residual.empty()) check_shape(residual, x.rows, x.cols, "rms_norm residual");
  check_shape(y, x.rows, x.cols, "rms_norm y");
  check_shape(gain, 1, x.cols, "rms_norm gain");
  check_shape(rstd, x.rows, 1, "rms_norm rstd");
  const auto kernel = MOEBIUS_DISPATCH(norm_rows);
  crew_.rows(x.rows, x.cols, [&](std::int64_t begin, std::int64_t end) {
    kernel(x.slice(begin, end), residual.slice(begin, end), gain.data, rows(y, begin, end),
           rstd.slice(begin, end));
  });
}

void Cpu::rms_norm_backward(View x_view, Weight gain_weight, View rstd_view, View dy_view,
                            View dx_view, View rounded) {
  const Floats x = x_view, gain = value(gain_weight), rstd = rstd_view, dy = dy_view, dx = dx_view;
  check_shape(dx, x.rows, x.cols, "rms_norm_backward dx");
  check_shape(dy, x.rows, x.cols, "rms_norm_backward dy");
  if (!rounded.empty()) check_shape(rounded, x.rows, x.cols, "rms_norm_backward rounded");
  const std::int64_t tile = Crew::grain(x.cols), tiles = ceil_div(x.rows, tile);
  float* const partial = crew_.shared(tiles * x.cols);  // dgain of each tile, [tiles, D]
  const auto kernel = MOEBIUS_DISPATCH(norm_rows_backward);
  crew_.ranges(x.rows, tile, [&](std::int64_t begin, std::int64_t end) {
    kernel(x.slice(begin, end), gain.data, rstd.slice(begin, end), dy.slice(begin, end),
           dx.slice(begin, end), rows(rounded, begin, end), partial + begin / tile * x.cols);
  });
  float* const dgain = gradient(gain_weight).data;
  for (std::int64_t i = 0; i < tiles; ++i)
    for (std::int64_t d = 0; d < x.cols; ++d) dgain[d] += partial[i * x.cols + d];
}

void Cpu::softmax(View logits_view, View probs_view) {
  const Floats logits = logits_view, probs = probs_view;
  check_shape(probs, logits.rows, logits.cols, "softmax probs");
  const auto kernel = MOEBIUS_DISPATCH(softmax_rows);
  crew_.rows(probs.rows, 4 * probs.cols, [&](std::int64_t begin, std::int64_t end) {
    kernel(logits.slice(begin, end), probs.slice(begin, end));
  });
}

void Cpu::softmax_backward(View probs_view, View dprobs_view, View dlogits_view) {
  const Floats probs = probs_view, dprobs = dprobs_view, dlogits = dlogits_view;
  check_shape(dlogits, probs.rows, probs.cols, "softmax_backward dlogits");
  const auto kernel = MOEBIUS_DISPATCH(softmax_rows_backward);
  crew_.rows(probs.rows, 4 * probs.cols, [&](std::int64_t begin, std::int64_t end) {
    kernel(probs.slice(begin, end), dprobs.slice(begin, end), dlogits.slice(begin, end));
  });
}

}  // namespace moebius::cpu
#endif  // HWY_ONCE
