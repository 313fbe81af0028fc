#include <cmath>
#include <numbers>

#include "model/backends/reference/reference.h"

namespace moebius::reference {
namespace {

// x[t] = table[token[t]] + positions[t mod S]; x: [T, D], table: [V, D], positions: [S, D] or
// empty.
template <class T>
void embed_rows(Indices token, std::int64_t seq, Matrix<T> table, Matrix<T> positions,
                Matrix<T> x) {
  check_shape(x, token.rows, table.cols, "embed x");
  for (std::int64_t t = 0; t < x.rows; ++t) {
    const std::int64_t id = token(t, 0);
    MOEBIUS_CHECK(id >= 0 && id < table.rows, "[embed] token {} of {}", id, table.rows);
    for (std::int64_t d = 0; d < x.cols; ++d) {
      x(t, d) = table(id, d);
      if (!positions.empty()) x(t, d) += positions(t % seq, d);
    }
  }
}

// dtable[token[t]] += dx[t], dpositions[t mod S] += dx[t].
template <class T>
void embed_rows_backward(Indices token, std::int64_t seq, Matrix<T> dx, Matrix<T> dtable,
                         Matrix<T> dpositions) {
  check_shape(dx, token.rows, dtable.cols, "embed_backward dx");
  for (std::int64_t t = 0; t < dx.rows; ++t)
    for (std::int64_t d = 0; d < dx.cols; ++d) {
      dtable(token(t, 0), d) += dx(t, d);
      if (!dpositions.empty()) dpositions(t % seq, d) += dx(t, d);
    }
}

double normal_cdf(double x) { return 0.5 * std::erfc(-x / std::numbers::sqrt2); }
double sigmoid(double x) { return 1 / (1 + std::exp(-x)); }

// a(x): relu max(0, x); gelu x Phi(x) (1606.08415); squared relu (2109.08668); silu x sigmoid(x).
double activation(Activation a, double x) {
  switch (a) {
    case Activation::Relu:
      return x > 0 ? x : 0;
    case Activation::Gelu:
      return x * normal_cdf(x);
    case Activation::SquaredRelu:
      return x > 0 ? x * x : 0;
    case Activation::Silu:
      return x * sigmoid(x);
  }
  return 0;
}

// a'(x); zero at the kink of relu.
double activation_slope(Activation a, double x) {
  constexpr double kInvSqrt2Pi = std::numbers::inv_sqrtpi / std::numbers::sqrt2;
  switch (a) {
    case Activation::Relu:
      return x > 0 ? 1 : 0;
    case Activation::Gelu:
      return normal_cdf(x) + x * kInvSqrt2Pi * std::exp(-x * x / 2);
    case Activation::SquaredRelu:
      return x > 0 ? 2 * x : 0;
    case Activation::Silu:
      return sigmoid(x) * (1 + x * (1 - sigmoid(x)));
  }
  return 0;
}

// y = a(up), slope = a'(up) unless empty; it may be `up`. All [rows, F].
template <class T>
void activate_rows(Activation a, Matrix<T> up, Matrix<T> y, Matrix<T> slope) {
  check_shape(y, up.rows, up.cols, "activate y");
  if (!slope.empty()) check_shape(slope, up.rows, up.cols, "activate slope");
  for (std::int64_t i = 0; i < y.rows; ++i)
    for (std::int64_t f = 0; f < y.cols; ++f) {
      const double x = up(i, f);
      y(i, f) = T(activation(a, x));
      if (!slope.empty()) slope(i, f) = T(activation_slope(a, x));
    }
}

// y = a(gate) * up (2002.05202); all [rows, F].
template <class T>
void glu_rows(Activation a, Matrix<T> up, Matrix<T> gate, Matrix<T> y) {
  check_shape(y, up.rows, up.cols, "glu y");
  for (std::int64_t i = 0; i < y.rows; ++i)
    for (std::int64_t f = 0; f < y.cols; ++f) y(i, f) = T(activation(a, gate(i, f)) * up(i, f));
}

// dgate = dy up a'(gate), dup = dy a(gate).
template <class T>
void glu_rows_backward(Activation a, Matrix<T> up, Matrix<T> gate, Matrix<T> dy, Matrix<T> dup,
                       Matrix<T> dgate) {
  check_shape(dup, up.rows, up.cols, "glu_backward dup");
  for (std::int64_t i = 0; i < dy.rows; ++i)
    for (std::int64_t f = 0; f < dy.cols; ++f) {
      const double d = dy(i, f);
      dgate(i, f) = T(d * up(i, f) * activation_slope(a, gate(i, f)));
      dup(i, f) = T(d * activation(a, gate(i, f)));
    }
}

template <class T>
void multiply_rows(Matrix<T> x, Matrix<T> y, Matrix<T> product) {
  check_shape(x, product.rows, product.cols, "multiply x");
  check_shape(y, product.rows, product.cols, "multiply y");
  for (std::int64_t i = 0; i < x.rows; ++i)
    for (std::int64_t j = 0; j < x.cols; ++j) product(i, j) = T(double(x(i, j)) * y(i, j));
}

}  // namespace

void Reference::fill(View y, double value) {
  typed(y.dtype, [&]<class T>() {
    const Matrix<T> m = y;
    for (std::int64_t i = 0; i < m.rows; ++i)
      for (std::int64_t j = 0; j < m.cols; ++j) m(i, j) = T(value);
  });
}

void Reference::embed(View token, std::int64_t seq, Weight table, Weight positions, View x) {
  typed([&]<class T>() { embed_rows<T>(token, seq, value(table), value(positions), x); });
}

void Reference::embed_backward(View token, std::int64_t seq, View dx, Weight table,
                               Weight positions) {
  typed([&]<class T>() {
    embed_rows_backward<T>(token, seq, dx, gradient(table), gradient(positions));
  });
}

void Reference::multiply(View x, View y, View product) {
  typed(product.dtype, [&]<class T>() { multiply_rows<T>(x, y, product); });
}

void Reference::activate(Activation a, View up, View y, View slope) {
  typed(y.dtype, [&]<class T>() { activate_rows<T>(a, up, y, slope); });
}

void Reference::glu(Activation a, View up, View gate, View y) {
  typed(y.dtype, [&]<class T>() { glu_rows<T>(a, up, gate, y); });
}

void Reference::glu_backward(Activation a, View up, View gate, View dy, View dup, View dgate) {
  typed(dy.dtype, [&]<class T>() { glu_rows_backward<T>(a, up, gate, dy, dup, dgate); });
}

}  // namespace moebius::reference
