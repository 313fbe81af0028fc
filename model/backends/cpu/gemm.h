#pragma once
#include <cstdint>

#include "model/backends/cpu/scratch.h"
#include "model/view.h"

namespace moebius::cpu {

namespace amx {
struct Engine;
}

// A factor of a product, f32 or bf16 as it lies in memory; `transposed` takes its rows as columns.
struct Factor {
  Factor(const View& view_, bool transposed_ = false)  // NOLINT(google-explicit-constructor)
      : view(view_), transposed(transposed_) {}
  std::int64_t rows() const { return transposed ? view.cols : view.rows; }
  std::int64_t cols() const { return transposed ? view.rows : view.cols; }

  View view;
  bool transposed;
};
inline Factor transpose(const Factor& f) { return {f.view, !f.transposed}; }
// Rows, columns [begin, end).
inline Factor factor_rows(const Factor& f, std::int64_t begin, std::int64_t end) {
  return {f.transposed ? f.view.columns(begin, end - begin) : f.view.row_range(begin, end - begin),
          f.transposed};
}
inline Factor factor_columns(const Factor& f, std::int64_t begin, std::int64_t end) {
  return transpose(factor_rows(transpose(f), begin, end));
}

struct GemmOptions {
  Dtype operand = Dtype::F32;  // factors are multiplied as F32, or rounded to BF16; sums are f32
  float scale = 1;
  bool accumulate = false;  // c +=; else the former content of c, NaN or not, does not matter
  bool read_soon = true;    // else a large c may be written past the caches (streaming stores)
  // The right factor of the product that follows, where it is known: its beginning may be
  // prefetched meanwhile.
  Factor next = View{};
};

// c = scale a b on the calling thread; a: [m, k], b: [k, n], c: [m, n] f32 or bf16.
//
// The bits of a row of c depend on that row of a and on b alone: not on how many rows there are,
// which of them it is, or who computes it. Routing needs that: the rows an expert gets depend on
// other tokens, also later ones, and no logit may change by a bit with a token behind it. And
// kernels may cut rows and columns among threads as they like.
void gemm(const Factor& a, const Factor& b, const View& c, const GemmOptions& options,
          Scratch& scratch);

// Floats of scratch that a product of an [m, k] and a [k, n] into type c takes at most.
std::int64_t gemm_scratch(std::int64_t m, std::int64_t n, std::int64_t k, Dtype operand, Dtype c);

// A right factor that is packed once and used for many products.
struct Packed {
  // What is left without the first `down` rows and `right` columns: multiples of kStep.
  Packed from(std::int64_t down, std::int64_t right) const {
    return {memory, rows, cols, operand, row + down, col + right};
  }

  static constexpr std::int64_t kStep = 64;
  const float* memory;
  std::int64_t rows, cols;  // of what was packed
  Dtype operand;
  std::int64_t row = 0, col = 0;  // where this part of it begins
};

// `memory`: packed_floats(b.rows(), b.cols(), operand), 64-byte aligned; it must outlive the
// result.
Packed pack(const Factor& b, Dtype operand, float* memory);
std::int64_t packed_floats(std::int64_t k, std::int64_t n, Dtype operand);

// As above with the first a.cols() rows and c.cols columns of b. a.cols() is the number of b's
// rows, or a multiple of 32, which may reach up to 31 rows beyond b. Columns of `a` beyond b's rows
// must be finite: they are multiplied by zero.
void gemm(const Factor& a, const Packed& b, const View& c, const GemmOptions& options,
          Scratch& scratch);
std::int64_t packed_gemm_scratch(std::int64_t m, std::int64_t n, std::int64_t k, Dtype operand);

// While one lives, small products of this thread leave AMX's tiles configured. It does nothing at
// other levels and for other operands.
class HeldTiles {
 public:
  explicit HeldTiles(Dtype operand);
  ~HeldTiles();
  HeldTiles(const HeldTiles&) = delete;
  HeldTiles& operator=(const HeldTiles&) = delete;

 private:
  const amx::Engine* const engine_;
};

// Lanes of `depth` elements of the summed dimension (README.md).
constexpr std::int64_t lanes_of(Dtype operand, std::int64_t depth) {
  return operand == Dtype::BF16 ? (depth + 1) / 2 : depth;
}

}  // namespace moebius::cpu
