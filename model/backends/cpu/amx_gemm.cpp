#include "model/backends/cpu/amx.h"

#if defined(__x86_64__) && defined(__linux__)
#include <hwy/cache_control.h>

#include <algorithm>

#include "model/backends/cpu/amx_tiles.h"

namespace moebius::cpu::amx {
namespace {

constexpr std::int64_t kLongest = 1024;  // elements of the summed dimension in f32 sums at a time
constexpr std::int64_t kStripBytes = 1 << 20;  // of the right factor, packed at a time: half an L2
constexpr std::int64_t kLeftBytes = 2 << 20;   // of the left factor

// Sums that end in bf16 must be complete.
std::int64_t block_depth(std::int64_t k, Dtype c) {
  return c == Dtype::BF16 ? k : std::min(k, kLongest);
}
std::int64_t strip_columns(std::int64_t n, std::int64_t depth) {
  const std::int64_t most = kStripBytes / (2 * std::max<std::int64_t>(1, depth)) / kBlock * kBlock;
  return std::min(round_up(n, kBlock), std::max(kBlock, most));
}
std::int64_t packed_rows(std::int64_t m, std::int64_t depth) {
  const std::int64_t most = kLeftBytes / (2 * std::max<std::int64_t>(1, depth)) / kBlock * kBlock;
  return std::min(round_up(m, kTile), std::max(kBlock, most));
}

// Whether rows of the left factor are read where they lie. Far apart by a power of two they would
// push each other out of L1: that pays for a copy, unless it is used once or twice.
bool reads_as_is(const Factor& a, std::int64_t n) {
  return !a.transposed && a.view.dtype == Dtype::BF16 &&
         (a.view.ld * 2 % 1024 != 0 || n <= 2 * kBlock);
}

// `a` where it lies, or a copy.
Left place_left(const Factor& a, bool as_is, std::byte* copy) {
  if (as_is) return {a.view.data, a.view.ld * 2, 64, kTile * a.view.ld * 2};
  if (a.transposed)
    pack_left_transposed(a.view, copy);
  else
    pack_left(a.view, copy);
  return {copy, 64, kTileBytes, ceil_div(a.cols(), kDepth) * kTileBytes};
}

// Rows [top, top + rows) of a factor, elements [first, first + count) of the summed dimension.
Factor part_of(const Factor& a, std::int64_t top, std::int64_t rows, std::int64_t first,
               std::int64_t count) {
  if (a.transposed) return transpose(a.view.row_range(first, count).columns(top, rows));
  return a.view.row_range(top, rows).columns(first, count);
}

void pack_factor(const Factor& b, std::byte* to) {
  if (b.transposed)
    pack_right_transposed(b.view, to);
  else
    pack_right(b.view, to);
}

// Rows of whole, aligned cache lines that are written once.
bool goes_past_caches(const View& c, const GemmOptions& o) {
  return !o.read_soon && !o.accumulate && o.scale == 1 && c.dtype == Dtype::F32 &&
         c.ld % kTile == 0 && reinterpret_cast<std::uintptr_t>(c.data) % 64 == 0;
}

bool is_far(const View& c) { return c.rows * c.ld * size_of(c.dtype) > (1 << 20); }

}  // namespace

std::int64_t gemm_scratch(std::int64_t m, std::int64_t n, std::int64_t k, Dtype c) {
  const std::int64_t depth = round_up(block_depth(k, c), kDepth);
  const std::int64_t strip = strip_columns(n, depth);
  return depth / 2 * (packed_rows(m, depth) + strip) + strip * kBlock;
}

void gemm(const Factor& a, const Factor& b, const View& c, const GemmOptions& options,
          Scratch& scratch) {
  const std::int64_t m = a.rows(), n = b.cols(), k = a.cols();
  auto* const right = reinterpret_cast<std::byte*>(scratch.floats(gemm_scratch(m, n, k, c.dtype)));
  const std::int64_t block = std::max<std::int64_t>(1, block_depth(k, c.dtype));
  const bool past_caches = is_far(c) && k <= block && goes_past_caches(c, options);
  for (std::int64_t first = 0; first < std::max<std::int64_t>(1, k); first += block) {
    const std::int64_t count = std::min(block, k - first), steps = ceil_div(count, kDepth);
    const bool as_is = count % kDepth == 0 && reads_as_is(a, n);
    const std::int64_t strip = strip_columns(n, steps * kDepth);
    const std::int64_t height = as_is ? m : packed_rows(m, steps * kDepth);
    std::byte* const sums = right + strip * steps * 64;
    std::byte* const copy = sums + strip * kBlock * 4;
    for (std::int64_t top = 0; top < m; top += height) {
      const std::int64_t rows = std::min(height, m - top);
      const Left left = place_left(part_of(a, top, rows, first, count), as_is, copy);
      for (std::int64_t j = 0; j < n; j += strip) {
        const std::int64_t cols = std::min(strip, n - j);
        const Factor columns = part_of(transpose(b), j, cols, first, count);
        pack_factor(transpose(columns), right);
        fence();
        multiply(left, {right, steps * 2 * kTileBytes}, steps, sums,
                 {.c = c.row_range(top, rows).columns(j, cols),
                  .scale = options.scale,
                  .accumulate = options.accumulate || first > 0,
                  .far = is_far(c),
                  .past_caches = past_caches});
      }
    }
  }
  if (past_caches) hwy::FlushStream();
  release();
}

std::int64_t packed_floats(std::int64_t k, std::int64_t n) {
  return round_up(k, kDepth) / 2 * round_up(n, kBlock);
}

void pack(const Factor& b, float* memory) { pack_factor(b, reinterpret_cast<std::byte*>(memory)); }

std::int64_t packed_gemm_scratch(std::int64_t m, std::int64_t n, std::int64_t k) {
  const std::int64_t depth = round_up(k, kDepth);
  return depth / 2 * packed_rows(m, depth) + round_up(n, kBlock) * kBlock;
}

void gemm(const Factor& a, const Packed& b, const View& c, const GemmOptions& options,
          Scratch& scratch) {
  const std::int64_t m = a.rows(), k = a.cols(), steps = ceil_div(k, kDepth);
  const std::int64_t panel = ceil_div(b.rows, kDepth) * 2 * kTileBytes;
  const bool as_is = k % kDepth == 0 && reads_as_is(a, c.cols);
  const std::int64_t height = as_is ? m : packed_rows(m, steps * kDepth);
  auto* const sums =
      reinterpret_cast<std::byte*>(scratch.floats(packed_gemm_scratch(m, c.cols, k)));
  const Right right = {reinterpret_cast<const std::byte*>(b.memory) + b.col / kBlock * panel +
                           b.row / kDepth * 2 * kTileBytes,
                       panel};
  for (std::int64_t top = 0; top < m; top += height) {
    const std::int64_t rows = std::min(height, m - top);
    const Left left = place_left(part_of(a, top, rows, 0, k), as_is,
                                 sums + round_up(c.cols, kBlock) * kBlock * 4);
    fence();
    multiply(left, right, steps, sums,
             {c.row_range(top, rows), options.scale, options.accumulate, is_far(c), true});
  }
  release();
}

}  // namespace moebius::cpu::amx

#else
namespace moebius::cpu::amx {

void gemm(const Factor&, const Factor&, const View&, const GemmOptions&, Scratch&) {}
std::int64_t gemm_scratch(std::int64_t, std::int64_t, std::int64_t, Dtype) { return 0; }
void pack(const Factor&, float*) {}
std::int64_t packed_floats(std::int64_t, std::int64_t) { return 0; }
void gemm(const Factor&, const Packed&, const View&, const GemmOptions&, Scratch&) {}
std::int64_t packed_gemm_scratch(std::int64_t, std::int64_t, std::int64_t) { return 0; }

}  // namespace moebius::cpu::amx
#endif
