#pragma once
#include <cstdint>

#include "model/backends/cpu/matrix.h"

// What attention does with a block of scores between its products.
namespace moebius::cpu {

constexpr float kLog2E = 1.44269504f;
constexpr std::int64_t kQueries = 32, kKeys = 64;  // of a block, forward and backward
constexpr std::int64_t kMargin = 16;  // beside numbers by distance: vectors reach over the edge

// Scores of a block of queries of one head, forward. z = q k^T: a row per query, a column per key,
// keys 0 .. first + rows - 1. Query i of the block sees keys 0 .. first + i. z is overwritten by
// p, row by row, in the type of operands.
struct Forward {
  Floats z;
  std::int64_t padded;  // columns of p
  Dtype operand;
  std::int64_t first;
  float scale;        // of z, times log2 e
  const float* bias;  // bias[j - i] log2 e is that of key j for query i; null without a bias
};

// Scores of a block of keys of one head, backward. z = k q^T and dp = v do^T: a row per key, a
// column per query, from the block's first key's position on. Key i of the block is seen by the
// queries in columns i and above. z is overwritten by p, dp by dz.
struct Backward {
  Floats z, dp;
  std::int64_t padded;
  Dtype operand;
  float scale;               // of z, times log2 e
  const float *lse, *delta;  // of the queries; lse times log2 e
  const float* bias;         // bias[j - i] log2 e of query j and key i; null without a bias
  float* dbias;
};

// z -> p, not yet divided by its sums; lse_i = log sum_j exp(scale z_ij + bias), sums_i = sum_j
// p_ij.
void softmax_block(const Forward& f, const Floats& lse, float* sums);
// to = from / sums, row by row.
void divide_rows(const Floats& from, const float* sums, const View& to);

// p = exp(scale z + bias - lse), dz = p (dp - delta), dbias[j - i] += dz_ij.
void softmax_block_backward(const Backward& b);
// delta_i = do_i . o_i
void dot_rows(const View& a, const View& b, float* to);
// to = factor * from
void store_scaled(const Floats& from, float factor, const View& to);

}  // namespace moebius::cpu
