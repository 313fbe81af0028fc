#include "model/backends/cpu/rowwise.h"

#include <algorithm>

#include "model/backends/cpu/parallel.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "model/backends/cpu/rowwise.cpp"
#include <hwy/foreach_target.h>  // includes this file once per instruction set

#include "model/backends/cpu/simd-inl.h"

HWY_BEFORE_NAMESPACE();
namespace moebius::cpu::HWY_NAMESPACE {

// Registers: kHeight x kWidth accumulators, a row of w, one broadcast. 32 of them with AVX-512.
constexpr int kHeight = 6;
constexpr int kWidth = HWY_TARGET <= HWY_AVX3 ? 4 : 2;
static_assert(kRowwiseColumns % (kWidth * kLanes) == 0);

// A block of y: Height rows, Width vectors of which the last may be partial (`cols` columns exist).
struct Block {
  const float *x, *w;
  float* y;
  std::int64_t x_ld, w_ld, y_ld, depth, cols;
  bool first;  // y = sum, else y += sum
};

template <int Height, int Width>
void multiply(const Block& b) {
  Vec sum[Height][Width];
#pragma GCC unroll 6
  for (int i = 0; i < Height; ++i)
#pragma GCC unroll 4
    for (int v = 0; v < Width; ++v) sum[i][v] = zero();
  const float *x = b.x, *w = b.w;
  const std::int64_t x_ld = b.x_ld, w_ld = b.w_ld;
  for (std::int64_t k = 0; k < b.depth; ++k, ++x, w += w_ld) {
    Vec weights[Width];
#pragma GCC unroll 4
    for (int v = 0; v < Width; ++v) weights[v] = hn::LoadU(kTag, w + v * kLanes);
#pragma GCC unroll 6
    for (int i = 0; i < Height; ++i) {
      const Vec factor = all(x[i * x_ld]);
#pragma GCC unroll 4
      for (int v = 0; v < Width; ++v) sum[i][v] = hn::MulAdd(factor, weights[v], sum[i][v]);
    }
  }
#pragma GCC unroll 6
  for (int i = 0; i < Height; ++i)
#pragma GCC unroll 4
    for (int v = 0; v < Width; ++v) {
      float* to = b.y + i * b.y_ld + v * kLanes;
      const auto put = [&](auto part) HWY_ATTR {
        part.store(b.first ? sum[i][v] : hn::Add(part.load(to), sum[i][v]), to);
      };
      if ((v + 1) * kLanes <= b.cols)
        put(Whole{});
      else
        put(Tail{b.cols - v * kLanes});
    }
}

template <int Width, int Height = kHeight>
void multiply_rows(const Block& b, std::int64_t rows) {
  if (rows == Height) return multiply<Height, Width>(b);
  if constexpr (Height > 1) multiply_rows<Width, Height - 1>(b, rows);
}

template <int Width = kWidth>
void multiply_block(const Block& b, std::int64_t rows) {
  if (ceil_div(b.cols, kLanes) == Width) return multiply_rows<Width>(b, rows);
  if constexpr (Width > 1) multiply_block<Width - 1>(b, rows);
}

constexpr std::int64_t kPanel = kWidth * kLanes;  // columns of a block

// [depth, cols] of w as panels of [depth, kPanel], the last one padded to whole vectors.
void pack(const float* w, std::int64_t ld, std::int64_t depth, std::int64_t cols, float* to) {
  for (std::int64_t k = 0; k < depth; ++k, w += ld)
    for (std::int64_t j = 0; j < cols; j += kPanel) {
      const std::int64_t width = std::min(kPanel, cols - j);
      float* row = to + j * depth + k * round_up(width, kLanes);
      each(width, [&](auto part, std::int64_t v)
                      HWY_ATTR { hn::Store(part.load(w + j + v), kTag, row + v); });
    }
}

void product(const Floats& x, const Floats& w, const Floats& y, float* scratch) {
  // Copying a strip of w pays when its rows lie far apart and are used often enough.
  const bool large = w.rows * w.ld > (1 << 15) && x.rows > 2 * kHeight;
  const bool packed = large || w.cols % kLanes != 0;
  for (std::int64_t strip = 0; strip < w.cols; strip += kRowwiseColumns) {
    const std::int64_t end = std::min(w.cols, strip + kRowwiseColumns);
    for (std::int64_t k = 0; k < w.rows; k += kRowwiseDepth) {
      const std::int64_t depth = std::min(kRowwiseDepth, w.rows - k);
      if (packed) pack(w.row(k) + strip, w.ld, depth, end - strip, scratch);
      for (std::int64_t j = strip; j < end; j += kPanel) {
        const std::int64_t cols = std::min(kPanel, end - j);
        for (std::int64_t i = 0; i < x.rows; i += kHeight)
          multiply_block({.x = x.row(i) + k,
                          .w = packed ? scratch + (j - strip) * depth : w.row(k) + j,
                          .y = y.row(i) + j,
                          .x_ld = x.ld,
                          .w_ld = packed ? round_up(cols, kLanes) : w.ld,
                          .y_ld = y.ld,
                          .depth = depth,
                          .cols = cols,
                          .first = k == 0},
                         std::min<std::int64_t>(kHeight, x.rows - i));
      }
    }
  }
}

}  // namespace moebius::cpu::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace moebius::cpu {
namespace {
HWY_EXPORT(product);
}

void rowwise_product(const Floats& x, const Floats& w, const Floats& y, float* scratch) {
  MOEBIUS_CHECK(x.cols == w.rows && x.rows == y.rows && w.cols == y.cols,
                "[rowwise] [{}, {}] times [{}, {}] into [{}, {}]", x.rows, x.cols, w.rows, w.cols,
                y.rows, y.cols);
  HWY_DYNAMIC_DISPATCH(product)(x, w, y, scratch);
}

}  // namespace moebius::cpu
#endif  // HWY_ONCE
