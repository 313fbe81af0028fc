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

template <class Write>
void Reference::product_gradient(Weight w, const Write& write) {
  const Contribution contribution = gradients_->next(w, Producer::Product);
  if (contribution.update == nullptr) {
    const View g = params_->gradient(w);
    if (contribution.first) fill(g, 0);
    return write(g);
  }
  const View like = value(w);
  std::vector<double> zeros(static_cast<std::size_t>(like.size()));  // room for either type
  const View g = {reinterpret_cast<std::byte*>(zeros.data()), dtype_, like.rows, like.cols,
                  like.cols};
  write(g);
  add_squares(g, contribution.norm2);
  step(w, g, *contribution.update, 1);
}

void Reference::matmul(View x, Weight w, View y) {
  log_->dense(x.rows, slot(w));
  typed([&]<class T>() {
    const Matrix<T> factor = value(w);
    check_shape<T>(x, y.rows, factor.rows, "matmul x");
    check_shape<T>(y, x.rows, factor.cols, "matmul y");
    product<T>(x, factor, y);
  });
}

void Reference::matmul_transposed(View y, Weight w, View x) {
  log_->dense(y.rows, slot(w));
  typed([&]<class T>() {
    const Matrix<T> factor = value(w);
    check_shape<T>(y, x.rows, factor.cols, "matmul_transposed y");
    check_shape<T>(x, y.rows, factor.rows, "matmul_transposed x");
    product_dx<T>(y, factor, x, false);
  });
}

void Reference::matmul_backward(View x, View dy, Weight w, View dx, bool accumulate) {
  for (int i = 0; i < 2; ++i) log_->dense(x.rows, slot(w));
  typed([&]<class T>() {
    const Matrix<T> factor = value(w);
    check_shape<T>(x, dy.rows, factor.rows, "matmul_backward x");
    check_shape<T>(dy, x.rows, factor.cols, "matmul_backward dy");
    check_shape<T>(dx, x.rows, factor.rows, "matmul_backward dx");
    product_dx<T>(dy, factor, dx, accumulate);
    product_gradient(w, [&](View dw) { product_dw<T>(x, dy, dw); });
  });
}

void Reference::expert_matmul(View x, const Routing& r, Weight w, View y) {
  log_->experts(pairs(r), slot(w));
  typed([&]<class T>() {
    const Matrix<T> from = x, factor = value(w), to = y;
    check_shape(from, y.rows, slot(w).rows, "expert_matmul x");
    check_shape(to, x.rows, slot(w).cols, "expert_matmul y");
    each_expert(r.offset, slot(w), [&](std::int64_t begin, std::int64_t rows, std::int64_t first) {
      product(block(from, begin, rows), block(factor, first, slot(w).rows), block(to, begin, rows));
    });
  });
}

void Reference::expert_matmul_backward(View x, View dy, const Routing& r, Weight w, View dx,
                                       bool accumulate) {
  for (int i = 0; i < 2; ++i) log_->experts(pairs(r), slot(w));
  typed([&]<class T>() {
    const Matrix<T> from = x, dto = dy, factor = value(w), dfrom = dx;
    const std::int64_t height = slot(w).rows;
    check_shape(from, dy.rows, height, "expert_matmul_backward x");
    check_shape(dto, x.rows, slot(w).cols, "expert_matmul_backward dy");
    check_shape(dfrom, x.rows, height, "expert_matmul_backward dx");
    each_expert(r.offset, slot(w), [&](std::int64_t begin, std::int64_t rows, std::int64_t first) {
      product_dx(block(dto, begin, rows), block(factor, first, height), block(dfrom, begin, rows),
                 accumulate);
    });
    product_gradient(w, [&](View dw) {
      each_expert(r.offset, slot(w),
                  [&](std::int64_t begin, std::int64_t rows, std::int64_t first) {
                    product_dw(block(from, begin, rows), block(dto, begin, rows),
                               block(Matrix<T>(dw), first, height));
                  });
    });
  });
}

}  // namespace moebius::reference
