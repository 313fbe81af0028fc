#pragma once
#include <cstdint>
#include <type_traits>

#include "model/view.h"

namespace moebius::reference {

template <class T>
constexpr Dtype dtype_of = std::is_same_v<T, double>  ? Dtype::F64
                           : std::is_same_v<T, float> ? Dtype::F32
                                                      : Dtype::I32;

// A view whose element type is known. Kernels compute in double and round when they store.
template <class T>
struct Matrix {
  static_assert(std::is_same_v<T, double> || std::is_same_v<T, float> ||
                std::is_same_v<T, std::int32_t>);

  Matrix(View view)  // NOLINT(google-explicit-constructor): kernels are called with views
      : rows(view.rows), cols(view.cols), ld(view.ld), data(reinterpret_cast<T*>(view.data)) {
    MOEBIUS_CHECK(view.empty() || view.dtype == dtype_of<T>, "[reference] a view of {} read as {}",
                  dtype_text(view.dtype), dtype_text(dtype_of<T>));
  }

  T& operator()(std::int64_t i, std::int64_t j) const { return data[i * ld + j]; }
  T* row(std::int64_t i) const { return data + i * ld; }
  bool empty() const { return rows == 0 || cols == 0; }

  std::int64_t rows, cols, ld;
  T* data;
};

using Indices = Matrix<std::int32_t>;  // token ids, offsets, routing tables
using Doubles = Matrix<double>;        // losses, norms and statistics, whatever the dtype

template <class T>
void check_shape(const Matrix<T>& m, std::int64_t rows, std::int64_t cols, const char* what) {
  MOEBIUS_CHECK(m.rows == rows && m.cols == cols, "[{}] is [{}, {}], must be [{}, {}]", what,
                m.rows, m.cols, rows, cols);
}

}  // namespace moebius::reference
