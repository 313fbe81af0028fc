#include "model/backends/cpu/cpu.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "model/backends/cpu/elementwise.cpp"
#include <hwy/foreach_target.h>  // includes this file once per instruction set

#include "model/backends/cpu/simd-inl.h"

HWY_BEFORE_NAMESPACE();
namespace moebius::cpu::HWY_NAMESPACE {

// a(x) and a'(x); only what is used is computed once everything is inlined.
struct Curve {
  Vec value, slope;
};

struct Relu {
  static HWY_INLINE Curve at(Vec x) {
    const auto positive = hn::Gt(x, zero());
    return {hn::IfThenElseZero(positive, x), hn::IfThenElseZero(positive, all(1))};
  }
};

struct SquaredRelu {  // 2109.08668
  static HWY_INLINE Curve at(Vec x) {
    const Vec positive = hn::IfThenElseZero(hn::Gt(x, zero()), x);
    return {hn::Mul(positive, positive), hn::Add(positive, positive)};
  }
};

struct Silu {
  static HWY_INLINE Curve at(Vec x) {
    // exp of a negative number only, so that it never overflows.
    const Vec e = exp_of(hn::Neg(hn::Abs(x)));
    const Vec sigmoid = hn::Div(hn::IfThenElse(hn::Gt(x, zero()), all(1), e), hn::Add(all(1), e));
    const Vec value = hn::Mul(x, sigmoid);
    return {value, hn::MulAdd(value, hn::Sub(all(1), sigmoid), sigmoid)};
  }
};

// x Phi(x), 1606.08415. Phi(-z) = exp(-z^2 / 2) q(t), t = 1 / (1 + 0.34 z), z >= 0, where q is a
// minimax fit to erfcx(z / sqrt 2) / 2 with relative error 1.4e-8: the left tail keeps its digits.
struct Gelu {
  static HWY_INLINE Curve at(Vec x) {
    const Vec z = hn::Min(hn::Abs(x), all(20));  // Phi(-20) is zero in f32
    // z^2 in two parts: its rounding error would be multiplied by z^2 / 2 in the exponential.
    const Vec square = hn::Mul(z, z);
    const Vec rest = hn::MulSub(z, z, square);
    const Vec half = all(-0.5f);
    const Vec head = exp_of(hn::Mul(half, square));
    const Vec bell = hn::MulAdd(hn::Mul(half, rest), head, head);
    const Vec t = hn::Div(all(1), hn::MulAdd(all(0.34f), z, all(1)));
    Vec q = all(-0.0283576883f);
    for (const float c : {0.150506794f, -0.296365201f, 0.229712367f, -0.064844273f, 0.124747336f,
                          0.112409666f, 0.136619642f, 0.13556917f, 2.19903382e-06f})
      q = hn::MulAdd(q, t, all(c));
    const Vec left = hn::Mul(bell, q);
    const Vec phi = hn::IfThenElse(hn::Gt(x, zero()), hn::Sub(all(1), left), left);
    return {hn::Mul(x, phi), hn::MulAdd(hn::Mul(x, all(0.39894228f)), bell, phi)};
  }
};

// y = a(up), or a(gate) * up.
template <class A>
void apply(const Floats& up, const Floats& gate, const Floats& y) {
  const bool gated = !gate.empty();
  const bool dense = up.dense() && gate.dense() && y.dense();
  each_line(dense, y.rows, y.cols, [&](std::int64_t row, std::int64_t n) HWY_ATTR {
    const float *u = up.row(row), *g = gate.row(row);
    float* to = y.row(row);
    if (gated)
      each(n, [&](auto part, std::int64_t i) HWY_ATTR {
        part.store(hn::Mul(A::at(part.load(g + i)).value, part.load(u + i)), to + i);
      });
    else
      each(n, [&](auto part, std::int64_t i)
                  HWY_ATTR { part.store(A::at(part.load(u + i)).value, to + i); });
  });
}

// dup = dy a'(up), or dup = dy a(gate) and dgate = dy up a'(gate).
template <class A>
void apply_backward(const Floats& up, const Floats& gate, const Floats& dy, const Floats& dup,
                    const Floats& dgate) {
  const bool gated = !gate.empty();
  const bool dense =
      up.dense() && gate.dense() && dy.dense() && dup.dense() && (!gated || dgate.dense());
  each_line(dense, dy.rows, dy.cols, [&](std::int64_t row, std::int64_t n) HWY_ATTR {
    const float *u = up.row(row), *g = gate.row(row), *d = dy.row(row);
    float *to_up = dup.row(row), *to_gate = dgate.row(row);
    if (gated)
      each(n, [&](auto part, std::int64_t i) HWY_ATTR {
        const Curve curve = A::at(part.load(g + i));
        const Vec grad = part.load(d + i);
        part.store(hn::Mul(hn::Mul(grad, part.load(u + i)), curve.slope), to_gate + i);
        part.store(hn::Mul(grad, curve.value), to_up + i);
      });
    else
      each(n, [&](auto part, std::int64_t i) HWY_ATTR {
        part.store(hn::Mul(part.load(d + i), A::at(part.load(u + i)).slope), to_up + i);
      });
  });
}

void activate_rows(Activation a, const Floats& up, const Floats& gate, const Floats& y) {
  switch (a) {
    case Activation::Relu:
      return apply<Relu>(up, gate, y);
    case Activation::Gelu:
      return apply<Gelu>(up, gate, y);
    case Activation::SquaredRelu:
      return apply<SquaredRelu>(up, gate, y);
    case Activation::Silu:
      return apply<Silu>(up, gate, y);
  }
}

void activate_rows_backward(Activation a, const Floats& up, const Floats& gate, const Floats& dy,
                            const Floats& dup, const Floats& dgate) {
  switch (a) {
    case Activation::Relu:
      return apply_backward<Relu>(up, gate, dy, dup, dgate);
    case Activation::Gelu:
      return apply_backward<Gelu>(up, gate, dy, dup, dgate);
    case Activation::SquaredRelu:
      return apply_backward<SquaredRelu>(up, gate, dy, dup, dgate);
    case Activation::Silu:
      return apply_backward<Silu>(up, gate, dy, dup, dgate);
  }
}

void set_rows(const Floats& y, float value) {
  each_line(y.dense(), y.rows, y.cols, [&](std::int64_t row, std::int64_t n) HWY_ATTR {
    float* to = y.row(row);
    each(n, [&](auto part, std::int64_t i) HWY_ATTR { part.store(all(value), to + i); });
  });
}

void add_rows(const Floats& x, const Floats& y) {
  each_line(x.dense() && y.dense(), y.rows, y.cols,
            [&](std::int64_t row, std::int64_t n) HWY_ATTR { add_to(x.row(row), y.row(row), n); });
}

}  // namespace moebius::cpu::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace moebius::cpu {
namespace {

HWY_EXPORT(activate_rows);
HWY_EXPORT(activate_rows_backward);
HWY_EXPORT(set_rows);
HWY_EXPORT(add_rows);

template <class T>
void fill_rows(const Matrix<T>& y, double value) {
  for (std::int64_t i = 0; i < y.rows; ++i) std::fill_n(y.row(i), y.cols, static_cast<T>(value));
}

}  // namespace

void Cpu::fill(View y, double value) {
  if (y.dtype == Dtype::F64) return fill_rows<double>(y, value);
  if (y.dtype == Dtype::I32) return fill_rows<std::int32_t>(y, value);
  const Floats to = y;
  crew_.rows(to.rows, to.cols,
             [&](std::int64_t begin, std::int64_t end) { fill_rows(to.slice(begin, end), value); });
}

void Cpu::add(View x, View y) {
  const Floats from = x, to = y;
  check_shape(from, to.rows, to.cols, "add x");
  const auto kernel = HWY_DYNAMIC_DISPATCH(add_rows);
  crew_.rows(to.rows, to.cols, [&](std::int64_t begin, std::int64_t end) {
    kernel(from.slice(begin, end), to.slice(begin, end));
  });
}

void Cpu::activate(Activation a, View up_view, View gate_view, View y_view) {
  const Floats up = up_view, gate = gate_view, y = y_view;
  check_shape(up, y.rows, y.cols, "activate up");
  if (!gate.empty()) check_shape(gate, y.rows, y.cols, "activate gate");
  const auto kernel = HWY_DYNAMIC_DISPATCH(activate_rows);
  crew_.rows(y.rows, y.cols, [&](std::int64_t begin, std::int64_t end) {
    kernel(a, up.slice(begin, end), gate.slice(begin, end), y.slice(begin, end));
  });
}

void Cpu::activate_backward(Activation a, View up_view, View gate_view, View dy_view, View dup_view,
                            View dgate_view) {
  const Floats up = up_view, gate = gate_view, dy = dy_view, dup = dup_view, dgate = dgate_view;
  check_shape(up, dy.rows, dy.cols, "activate_backward up");
  check_shape(dup, dy.rows, dy.cols, "activate_backward dup");
  if (!gate.empty()) check_shape(dgate, dy.rows, dy.cols, "activate_backward dgate");
  const auto kernel = HWY_DYNAMIC_DISPATCH(activate_rows_backward);
  crew_.rows(dy.rows, dy.cols, [&](std::int64_t begin, std::int64_t end) {
    kernel(a, up.slice(begin, end), gate.slice(begin, end), dy.slice(begin, end),
           dup.slice(begin, end), dgate.slice(begin, end));
  });
}

}  // namespace moebius::cpu
#endif  // HWY_ONCE
