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

constexpr std::int64_t kPanel = 64, kLeftPanel = 48;  // columns of b, rows of a transposed
static_assert(Packed::kStep % kPanel == 0);

}  // namespace moebius::cpu
