#pragma once
#include "model/backends/routing.h"
#include "model/params.h"

namespace moebius {

// Products with parameters. They sum in f32 or better. Experts: x, y are [Pmax, .] rows sorted by
// expert, and matrix e of the slot meets the rows of expert e, which r.offset gives.
class ProductKernels {
 public:
  virtual ~ProductKernels() = default;
  virtual void matmul(View x, Weight w, View y) = 0;             // y = x W
  virtual void matmul_transposed(View y, Weight w, View x) = 0;  // x = y W^T
  // dx = dy W^T, or dx += it where `accumulate`; then x^T dy is a contribution to dW.
  virtual void matmul_backward(View x, View dy, Weight w, View dx, bool accumulate) = 0;
  // y[p] = x[p] W[e(p)]
  virtual void expert_matmul(View x, const Routing& r, Weight w, View y) = 0;
  virtual void expert_matmul_backward(View x, View dy, const Routing& r, Weight w, View dx,
                                      bool accumulate) = 0;
};

}  // namespace moebius
