#include <cstring>
#include <type_traits>

#include "model/backends/cpu/cpu.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "model/backends/cpu/elementwise.cpp"
#include "model/backends/cpu/foreach_level.h"  // includes this file once per instruction level

#include "model/backends/cpu/simd-inl.h"

HWY_BEFORE_NAMESPACE();
namespace moebius::cpu::N_LEVEL {

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
    const Vec sigmoid =
        hn::Mul(hn::IfThenElse(hn::Gt(x, zero()), all(1), e), reciprocal(hn::Add(all(1), e)));
    const Vec value = hn::Mul(x, sigmoid);
    return {value, hn::MulAdd(value, hn::Sub(all(1), sigmoid), sigmoid)};
  }
};

constexpr float kGeluReach = 20;  // Phi(-20) is zero in f32

// x Phi(x), 1606.08415. Phi(-z) = exp(-z^2 / 2) q(t), t = 1 / (1 + c z), z >= 0, where q is a
// minimax fit to erfcx(z / sqrt 2) / 2: the left tail keeps its digits.
template <class Q>
HWY_INLINE Curve gelu_curve(Vec x, Vec z, Vec bell) {  // bell = exp(-z^2 / 2)
  const Vec t = reciprocal(hn::MulAdd(all(Q::kSpread), z, all(1)));
  const Vec left = hn::Mul(bell, polynomial(t, Q::kTerms));
  const Vec phi = hn::IfThenElse(hn::Gt(x, zero()), hn::Sub(all(1), left), left);
  return {hn::Mul(x, phi), hn::MulAdd(hn::Mul(x, all(0.39894228f)), bell, phi)};
}

struct GeluF32 {
  static constexpr float kSpread = 0.34f;  // relative error 1.4e-8
  static constexpr float kTerms[] = {-0.0283576883f, 0.150506794f,   -0.296365201f, 0.229712367f,
                                     -0.064844273f,  0.124747336f,   0.112409666f,  0.136619642f,
                                     0.13556917f,    2.19903382e-06f};
  static HWY_INLINE Curve at(Vec x) {
    const Vec z = hn::Min(all(kGeluReach), hn::Abs(x));
    // z^2 in two parts: its rounding error would be multiplied by z^2 / 2 in the exponential.
    const Vec square = hn::Mul(z, z);
    const Vec rest = hn::MulSub(z, z, square);
    const Vec half = all(-0.5f);
    const Vec head = exp_of(hn::Mul(half, square));
    return gelu_curve<GeluF32>(x, z, hn::MulAdd(hn::Mul(half, rest), head, head));
  }
};

struct GeluBf16 {
  static constexpr float kSpread = 0.36f;  // relative error 1.1e-5: bf16 has 2e-3
  static constexpr float kTerms[] = {-0.0993002833f, 0.256467714f, 0.0330451054f,
                                     0.16965694f,    0.139917386f, 2.07726629e-4f};
  static HWY_INLINE Curve at(Vec x) {
    const Vec z = hn::Min(all(kGeluReach), hn::Abs(x));
    return gelu_curve<GeluBf16>(x, z, exp_of(hn::Mul(hn::Mul(z, z), all(-0.5f)), kShortExpTerms));
  }
};
template <class T>
using Gelu = std::conditional_t<std::is_same_v<T, Bf16>, GeluBf16, GeluF32>;

// y = a(up), slope = a'(up) unless empty.
template <class A, class T>
void apply(const Matrix<T>& up, const Matrix<T>& y, const Matrix<T>& slope) {
  const bool dense = up.dense() && y.dense() && slope.dense(), sloped = !slope.empty();
  each_line(dense, y.rows, y.cols, [&](std::int64_t row, std::int64_t n) HWY_ATTR {
    const T* u = up.row(row);
    T *to = y.row(row), *to_slope = slope.row(row);
    if (sloped)
      each(n, [&](auto part, std::int64_t i) HWY_ATTR {
        const Curve curve = A::at(part.load(u + i));
        part.store(curve.value, to + i);
        part.store(curve.slope, to_slope + i);
      });
    else
      each(n, [&](auto part, std::int64_t i)
                  HWY_ATTR { part.store(A::at(part.load(u + i)).value, to + i); });
  });
}

// y = a(gate) * up.
template <class A, class T>
void apply_gated(const Matrix<T>& up, const Matrix<T>& gate, const Matrix<T>& y) {
  const bool dense = up.dense() && gate.dense() && y.dense();
  each_line(dense, y.rows, y.cols, [&](std::int64_t row, std::int64_t n) HWY_ATTR {
    const T *u = up.row(row), *g = gate.row(row);
    T* to = y.row(row);
    each(n, [&](auto part, std::int64_t i) HWY_ATTR {
      part.store(hn::Mul(A::at(part.load(g + i)).value, part.load(u + i)), to + i);
    });
  });
}

// dup = dy a(gate), dgate = dy up a'(gate).
template <class A, class T>
void apply_gated_backward(const Matrix<T>& up, const Matrix<T>& gate, const Matrix<T>& dy,
                          const Matrix<T>& dup, const Matrix<T>& dgate) {
  const bool dense = up.dense() && gate.dense() && dy.dense() && dup.dense() && dgate.dense();
  each_line(dense, dy.rows, dy.cols, [&](std::int64_t row, std::int64_t n) HWY_ATTR {
    const T *u = up.row(row), *g = gate.row(row), *d = dy.row(row);
    T *to_up = dup.row(row), *to_gate = dgate.row(row);
    each(n, [&](auto part, std::int64_t i) HWY_ATTR {
      const Curve curve = A::at(part.load(g + i));
      const Vec grad = part.load(d + i);
      part.store(hn::Mul(hn::Mul(grad, part.load(u + i)), curve.slope), to_gate + i);
      part.store(hn::Mul(grad, curve.value), to_up + i);
    });
  });
}

void multiply_rows(const View& x, const View& y, const View& product) {
  typed(product.dtype, [&]<class T>() {
    const Matrix<T> a = x, b = y, to = product;
    const bool dense = a.dense() && b.dense() && to.dense();
    each_line(dense, to.rows, to.cols, [&](std::int64_t row, std::int64_t n) HWY_ATTR {
      each(n, [&](auto part, std::int64_t i) HWY_ATTR {
        part.store(hn::Mul(part.load(a.row(row) + i), part.load(b.row(row) + i)), to.row(row) + i);
      });
    });
  });
}

template <class T, class Body>
void with_curve(Activation a, const Body& body) {
  switch (a) {
    case Activation::Relu:
      return body.template operator()<Relu>();
    case Activation::Gelu:
      return body.template operator()<Gelu<T>>();
    case Activation::SquaredRelu:
      return body.template operator()<SquaredRelu>();
    case Activation::Silu:
      return body.template operator()<Silu>();
  }
}

void activate_rows(Activation a, const View& up, const View& y, const View& slope) {
  typed(y.dtype,
        [&]<class T>() { with_curve<T>(a, [&]<class A>() { apply<A, T>(up, y, slope); }); });
}

void glu_rows(Activation a, const View& up, const View& gate, const View& y) {
  typed(y.dtype,
        [&]<class T>() { with_curve<T>(a, [&]<class A>() { apply_gated<A, T>(up, gate, y); }); });
}

void glu_rows_backward(Activation a, const View& up, const View& gate, const View& dy,
                       const View& dup, const View& dgate) {
  typed(dy.dtype, [&]<class T>() {
    with_curve<T>(a, [&]<class A>() { apply_gated_backward<A, T>(up, gate, dy, dup, dgate); });
  });
}

void set_rows(const Floats& y, float value) {
  each_line(y.dense(), y.rows, y.cols, [&](std::int64_t row, std::int64_t n) HWY_ATTR {
    float* to = y.row(row);
    each(n, [&](auto part, std::int64_t i) HWY_ATTR { part.store(all(value), to + i); });
  });
}

}  // namespace moebius::cpu::N_LEVEL
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace moebius::cpu {
namespace {

MOEBIUS_EXPORT(multiply_rows);
MOEBIUS_EXPORT(activate_rows);
MOEBIUS_EXPORT(glu_rows);
MOEBIUS_EXPORT(glu_rows_backward);
MOEBIUS_EXPORT(set_rows);

template <class T>
void fill_rows(const Matrix<T>& y, double value) {
  for (std::int64_t i = 0; i < y.rows; ++i)
    if (value == 0)  // whose bits are zeros
      std::memset(y.row(i), 0, static_cast<std::size_t>(y.cols) * sizeof(T));
    else
      std::fill_n(y.row(i), y.cols, static_cast<T>(value));
}

}  // namespace

void Cpu::fill(View y, double value) {
  if (y.dtype == Dtype::F64) return fill_rows<double>(y, value);
  if (y.dtype == Dtype::I32) return fill_rows<std::int32_t>(y, value);
  const Floats to = y;
  crew_.rows(to.rows, to.cols,
             [&](std::int64_t begin, std::int64_t end) { fill_rows(to.slice(begin, end), value); });
}

void Cpu::multiply(View x, View y, View product) {
  check_shape(x, product.rows, product.cols, "multiply x");
  check_shape(y, product.rows, product.cols, "multiply y");
  const auto kernel = MOEBIUS_DISPATCH(multiply_rows);
  crew_.rows(product.rows, product.cols, [&](std::int64_t begin, std::int64_t end) {
    kernel(rows(x, begin, end), rows(y, begin, end), rows(product, begin, end));
  });
}

void Cpu::activate(Activation a, View up, View y, View slope) {
  check_shape(up, y.rows, y.cols, "activate up");
  if (!slope.empty()) check_shape(slope, y.rows, y.cols, "activate slope");
  const auto kernel = MOEBIUS_DISPATCH(activate_rows);
  crew_.rows(y.rows, y.cols, [&](std::int64_t begin, std::int64_t end) {
    kernel(a, rows(up, begin, end), rows(y, begin, end), rows(slope, begin, end));
  });
}

void Cpu::glu(Activation a, View up, View gate, View y) {
  check_shape(up, y.rows, y.cols, "glu up");
  check_shape(gate, y.rows, y.cols, "glu gate");
  const auto kernel = MOEBIUS_DISPATCH(glu_rows);
  crew_.rows(y.rows, y.cols, [&](std::int64_t begin, std::int64_t end) {
    kernel(a, rows(up, begin, end), rows(gate, begin, end), rows(y, begin, end));
  });
}

void Cpu::glu_backward(Activation a, View up, View gate, View dy, View dup, View dgate) {
  for (const View& v : {up, gate, dup, dgate}) check_shape(v, dy.rows, dy.cols, "glu_backward");
  const auto kernel = MOEBIUS_DISPATCH(glu_rows_backward);
  crew_.rows(dy.rows, dy.cols, [&](std::int64_t begin, std::int64_t end) {
    kernel(a, rows(up, begin, end), rows(gate, begin, end), rows(dy, begin, end),
           rows(dup, begin, end), rows(dgate, begin, end));
  });
}

}  // namespace moebius::cpu
#endif  // HWY_ONCE
