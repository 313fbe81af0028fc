#pragma once
#include <cstdint>

#include "model/view.h"

namespace moebius::cpu {

enum class Bf16 : std::uint16_t {};  // the upper half of an f32

template <class T>
constexpr Dtype dtype_of = Dtype::F32;
template <>
inline constexpr Dtype dtype_of<Bf16> = Dtype::BF16;
template <>
inline constexpr Dtype dtype_of<double> = Dtype::F64;
template <>
inline constexpr Dtype dtype_of<std::int32_t> = Dtype::I32;

// A view whose element type is known: element (i, j) is row(i)[j].
template <class T>
struct Matrix {
  Matrix() = default;
  Matrix(const View& view)  // NOLINT(google-explicit-constructor): kernels are called with views
      : data(reinterpret_cast<T*>(view.data)), rows(view.rows), cols(view.cols), ld(view.ld) {
    MOEBIUS_CHECK(view.empty() || view.dtype == dtype_of<T>, "[cpu] a view of {} read as {}",
                  dtype_text(view.dtype), dtype_text(dtype_of<T>));
  }

  Matrix(T* first, std::int64_t rows_, std::int64_t cols_)
      : data(first), rows(rows_), cols(cols_), ld(cols_) {}

  T* row(std::int64_t i) const { return data + i * ld; }
  bool empty() const { return rows == 0 || cols == 0; }
  bool dense() const { return ld == cols || rows <= 1; }  // empty ones are

  std::int64_t size() const { return rows * cols; }
  View view() const { return {reinterpret_cast<std::byte*>(data), dtype_of<T>, rows, cols, ld}; }

  // Rows, columns [begin, end).
  Matrix slice(std::int64_t begin, std::int64_t end) const {
    Matrix part = *this;
    part.data += begin * ld;
    part.rows = end - begin;
    return part;
  }
  Matrix columns(std::int64_t begin, std::int64_t end) const {
    Matrix part = *this;
    part.data += begin;
    part.cols = end - begin;
    return part;
  }

  T* data = nullptr;
  std::int64_t rows = 0, cols = 0, ld = 0;
};

using Floats = Matrix<float>;
using Halves = Matrix<Bf16>;
using Ints = Matrix<std::int32_t>;  // token ids, offsets, routing tables
using Doubles = Matrix<double>;     // losses, norms and statistics

// body.operator()<T>() with the element type of an operand: float or Bf16.
template <class Body>
void typed(Dtype dtype, const Body& body) {
  if (dtype == Dtype::BF16)
    body.template operator()<Bf16>();
  else
    body.template operator()<float>();
}

template <class M>  // a view or a matrix
void check_shape(const M& m, std::int64_t rows, std::int64_t cols, const char* what) {
  MOEBIUS_CHECK(m.rows == rows && m.cols == cols, "[{}] is [{}, {}], must be [{}, {}]", what,
                m.rows, m.cols, rows, cols);
}

// Rows [begin, end) of a view; an empty one stays empty.
inline View rows(const View& v, std::int64_t begin, std::int64_t end) {
  return v.empty() ? v : v.row_range(begin, end - begin);
}

}  // namespace moebius::cpu
