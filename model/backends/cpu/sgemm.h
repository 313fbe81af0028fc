#pragma once
#include <cstdint>

#include "model/backends/cpu/matrix.h"

namespace moebius::cpu {

// A factor of a product; `transposed` takes its rows as columns.
struct Factor {
  Factor(const Floats& m, bool transposed_ = false)  // NOLINT(google-explicit-constructor)
      : data(m.data),
        rows(transposed_ ? m.cols : m.rows),
        cols(transposed_ ? m.rows : m.cols),
        ld(m.ld),
        transposed(transposed_) {}

  const float* data;
  std::int64_t rows, cols, ld;  // rows and cols of the factor as it is used
  bool transposed;
};
inline Factor transpose(const Floats& m) { return {m, true}; }

// c = alpha a b + beta c on the calling thread alone; a: [m, k], b: [k, n], c: [m, n]. With beta 0
// the former content of c, NaN or not, does not matter. The bits of an element of c depend on the
// shapes and its place, never on other rows, the thread or addresses.
void sgemm(const Factor& a, const Factor& b, const Floats& c, float alpha = 1, float beta = 0);

}  // namespace moebius::cpu
