#include <algorithm>
#include <vector>

#include "model/backends/reference/reference.h"

namespace moebius::reference {
namespace {

// Rows `rows` of a matrix.
template <class T>
Matrix<T> block(Matrix<T> m, std::int64_t begin, std::int64_t rows) {
  m.data += begin * m.ld;
  m.rows = rows;
  return m;
}

// y = x W; x: [T, k], w: [k, n], y: [T, n].
template <class T>
void product(Matrix<T> x, Matrix<T> w, Matrix<T> y) {
  std::vector<double> sum(static_cast<std::size_t>(w.cols));
  for (std::int64_t t = 0; t < x.rows; ++t) {
    std::fill(sum.begin(), sum.end(), 0.0);
    for (std::int64_t i = 0; i < w.rows; ++i) {
      const double factor = x(t, i);
      const T* row = w.row(i);
      for (std::size_t j = 0; j < sum.size(); ++j) sum[j] += factor * row[j];
    }
    for (std::size_t j = 0; j < sum.size(); ++j) y.row(t)[j] = T(sum[j]);
  }
}

// dx = dy W^T, or dx += it; dy: [T, n], dx: [T, k].
template <class T>
void product_dx(Matrix<T> dy, Matrix<T> w, Matrix<T> dx, bool accumulate) {
  for (std::int64_t t = 0; t < dy.rows; ++t)
    for (std::int64_t i = 0; i < w.rows; ++i) {
      double sum = accumulate ? dx(t, i) : 0;
      for (std::int64_t j = 0; j < w.cols; ++j) sum += double(dy(t, j)) * w(i, j);
      dx(t, i) = T(sum);
    }
}

// dW += x^T dy.
template <class T>
void product_dw(Matrix<T> x, Matrix<T> dy, Matrix<T> dw) {
  std::vector<double> sum(static_cast<std::size_t>(dw.cols));
  for (std::int64_t i = 0; i < dw.rows; ++i) {
    std::fill(sum.begin(), sum.end(), 0.0);
    for (std::int64_t t = 0; t < x.rows; ++t) {
      const double factor = x(t, i);
      const T* row = dy.row(t);
      for (std::size_t j = 0; j < sum.size(); ++j) sum[j] += factor * row[j];
    }
    for (std::size_t j = 0; j < sum.size(); ++j) dw.row(i)[j] += T(sum[j]);
  }
}

// kernel(rows of expert e, first weight row, rows of its weight) for every expert; w: [E * k, n].
template <class Kernel>
void each_expert(Indices offset, const ParamSlot& w, Kernel&& kernel) {
  check_shape(offset, w.batch + 1, 1, "expert_matmul offset");
  for (std::int64_t e = 0; e < w.batch; ++e)
    kernel(offset(e, 0), offset(e + 1, 0) - offset(e, 0), e * w.rows);
}

std::int64_t pairs(const Routing& r) { return Indices(r.offset)(r.offset.rows - 1, 0); }

}  // namespace

void Reference::matmul(View x, Weight w, View y) {
  log_.dense(x.rows, slot(w));
  typed([&]<class T>() {
    const Matrix<T> factor = value(w);
    check_shape<T>(x, y.rows, factor.rows, "matmul x");
    check_shape<T>(y, x.rows, factor.cols, "matmul y");
    product<T>(x, factor, y);
  });
}

void Reference::matmul_dx(View dy, Weight w, View dx, bool accumulate) {
  log_.dense(dy.rows, slot(w));
  typed([&]<class T>() {
    const Matrix<T> factor = value(w);
    check_shape<T>(dy, dx.rows, factor.cols, "matmul_dx dy");
    check_shape<T>(dx, dy.rows, factor.rows, "matmul_dx dx");
    product_dx<T>(dy, factor, dx, accumulate);
  });
}

void Reference::matmul_dw(View x, View dy, Weight w) {
  log_.dense(x.rows, slot(w));
  typed([&]<class T>() {
    const Matrix<T> dw = gradient(w);
    check_shape<T>(x, dy.rows, dw.rows, "matmul_dw x");
    check_shape<T>(dy, x.rows, dw.cols, "matmul_dw dy");
    product_dw<T>(x, dy, dw);
  });
}

void Reference::expert_matmul(View x, const Routing& r, Weight w, View y) {
  log_.experts(pairs(r), slot(w));
  typed([&]<class T>() {
    const Matrix<T> from = x, factor = value(w), to = y;
    check_shape(from, y.rows, slot(w).rows, "expert_matmul x");
    check_shape(to, x.rows, slot(w).cols, "expert_matmul y");
    each_expert(r.offset, slot(w), [&](std::int64_t begin, std::int64_t rows, std::int64_t first) {
      product(block(from, begin, rows), block(factor, first, slot(w).rows), block(to, begin, rows));
    });
  });
}

void Reference::expert_matmul_dx(View dy, const Routing& r, Weight w, View dx, bool accumulate) {
  log_.experts(pairs(r), slot(w));
  typed([&]<class T>() {
    const Matrix<T> from = dy, factor = value(w), to = dx;
    check_shape(from, dx.rows, slot(w).cols, "expert_matmul_dx dy");
    check_shape(to, dy.rows, slot(w).rows, "expert_matmul_dx dx");
    each_expert(r.offset, slot(w), [&](std::int64_t begin, std::int64_t rows, std::int64_t first) {
      product_dx(block(from, begin, rows), block(factor, first, slot(w).rows),
                 block(to, begin, rows), accumulate);
    });
  });
}

void Reference::expert_matmul_dw(View x, View dy, const Routing& r, Weight w) {
  log_.experts(pairs(r), slot(w));
  typed([&]<class T>() {
    const Matrix<T> from = x, to = dy, dw = gradient(w);
    check_shape(from, dy.rows, slot(w).rows, "expert_matmul_dw x");
    check_shape(to, x.rows, slot(w).cols, "expert_matmul_dw dy");
    each_expert(r.offset, slot(w), [&](std::int64_t begin, std::int64_t rows, std::int64_t first) {
      product_dw(block(from, begin, rows), block(to, begin, rows), block(dw, first, slot(w).rows));
    });
  });
}

}  // namespace moebius::reference
