#pragma once
#include <cstdint>

#include "model/backends/cpu/gemm.h"

// Factors as lanes (see pack-inl.h), between gemm.cpp, which lays them out, and its kernels.
namespace moebius::cpu {

// The left factor: rows as they lie, `row` lanes apart, or panels (row = 0).
struct Left {
  const float* first;
  std::int64_t row;
};
// Panels of the right factor: first lane used of `depth`, columns of all.
struct Right {
  const float* panels;
  std::int64_t lane, depth, cols;
};

// Does not fit a near cache.
inline bool is_large(const View& v) { return v.rows * v.ld * size_of(v.dtype) > (1 << 20); }

constexpr std::int64_t kPanel = 64, kLeftPanel = 48;  // columns of b, rows of a transposed
static_assert(Packed::kStep % kPanel == 0);

}  // namespace moebius::cpu
