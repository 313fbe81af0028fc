#include "model/backends/reference/reference.h"

namespace moebius::reference {
namespace {

// Rows to experts and back. x, out: [T, D]; y: [Pmax, D], only the first offset[E] rows are used.

std::int64_t pairs(const Routing& r) { return Indices(r.offset)(r.offset.rows - 1, 0); }

// y[p] = x[token[p]].
template <class T>
void gather_rows(Matrix<T> x, Indices token, std::int64_t pairs, Matrix<T> y) {
  check_shape(y, token.rows, x.cols, "gather y");
  for (std::int64_t p = 0; p < pairs; ++p)
    for (std::int64_t d = 0; d < x.cols; ++d) y(p, d) = x(token(p, 0), d);
}

// dx[token[p]] += dy[p].
template <class T>
void gather_rows_backward(Matrix<T> dy, Indices token, std::int64_t pairs, Matrix<T> dx) {
  check_shape(dy, token.rows, dx.cols, "gather_backward dy");
  for (std::int64_t p = 0; p < pairs; ++p)
    for (std::int64_t d = 0; d < dx.cols; ++d) dx(token(p, 0), d) += dy(p, d);
}

// out = 0, out[token[p]] += weight[p] y[p].
template <class T>
void combine_rows(Matrix<T> y, Indices token, Matrix<T> weight, std::int64_t pairs, Matrix<T> out) {
  check_shape(y, token.rows, out.cols, "combine y");
  for (std::int64_t t = 0; t < out.rows; ++t)
    for (std::int64_t d = 0; d < out.cols; ++d) out(t, d) = T{0};
  for (std::int64_t p = 0; p < pairs; ++p)
    for (std::int64_t d = 0; d < out.cols; ++d) out(token(p, 0), d) += weight(p, 0) * y(p, d);
}

// dy[p] = weight[p] dout[token[p]], dweight[p] = y[p] . dout[token[p]].
template <class T>
void combine_rows_backward(Matrix<T> y, Indices token, Matrix<T> weight, std::int64_t pairs,
                           Matrix<T> dout, Matrix<T> dy, Matrix<T> dweight) {
  check_shape(dy, token.rows, dout.cols, "combine_backward dy");
  check_shape(dweight, token.rows, 1, "combine_backward dweight");
  for (std::int64_t p = 0; p < pairs; ++p) {
    const std::int64_t t = token(p, 0);
    double dot = 0;
    for (std::int64_t d = 0; d < dout.cols; ++d) {
      dy(p, d) = weight(p, 0) * dout(t, d);
      dot += double(y(p, d)) * dout(t, d);
    }
    dweight(p, 0) = T(dot);
  }
}

}  // namespace

void Reference::gather(View x, const Routing& r, View y) {
  typed([&]<class T>() { gather_rows<T>(x, r.token, pairs(r), y); });
}

void Reference::gather_backward(View dy, const Routing& r, View dx) {
  typed([&]<class T>() { gather_rows_backward<T>(dy, r.token, pairs(r), dx); });
}

void Reference::combine(View y, const Routing& r, View out) {
  typed([&]<class T>() { combine_rows<T>(y, r.token, r.weight, pairs(r), out); });
}

void Reference::combine_backward(View y, const Routing& r, View dout, View dy, View dweight) {
  typed([&]<class T>() {
    combine_rows_backward<T>(y, r.token, r.weight, pairs(r), dout, dy, dweight);
  });
}

}  // namespace moebius::reference
