#include "model/backends/cpu/amx.h"

#include <hwy/cache_control.h>

#include <algorithm>

#include "model/backends/cpu/amx_blocks.h"
#include "model/backends/cpu/amx_tiles.h"

namespace moebius::cpu::amx {
namespace {

constexpr std::int64_t kLongest = 1024;  // elements of the summed dimension in f32 sums at a time
constexpr std::int64_t kStripBytes = 1 << 20;   // of the right factor, packed at a time: half an L2
constexpr std::int64_t kLeftBytes = 2 << 20;    // of the left factor, kept for the next strip
constexpr std::int64_t kTogether = 4 * kBlock;  // columns of it that are packed as rows at a time

// Sums that end in bf16 must be complete.
std::int64_t block_depth(std::int64_t k, Dtype c) {
  return c == Dtype::BF16 ? k : std::min(k, kLongest);
}
std::int64_t strip_columns(std::int64_t n, std::int64_t depth) {
  const std::int64_t most = kStripBytes / (2 * std::max<std::int64_t>(1, depth)) / kBlock * kBlock;
  const std::int64_t strips = std::max<std::int64_t>(1, ceil_div(n, std::max(kBlock, most)));
  return round_up(ceil_div(n, strips), kBlock);
}
std::int64_t packed_rows(std::int64_t m, std::int64_t depth) {
  const std::int64_t most =
      kLeftBytes / (2 * std::max<std::int64_t>(1, depth)) / kTogether * kTogether;
  return std::min(round_up(m, kTile), std::max(kTogether, most));
}

// Whether rows of the left factor are read where they lie. Far apart by a power of two they would
// push each other out of L1: that pays for a copy, unless it is used once or twice.
bool reads_as_is(const Factor& a, std::int64_t n) {
  return !a.transposed && a.view.dtype == Dtype::BF16 &&
         (a.view.ld * 2 % 1024 != 0 || n <= 2 * kBlock);
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

// Too large for a near cache.
bool exceeds_cache(const View& v) { return v.rows * v.ld * size_of(v.dtype) > (1 << 20); }

// The left factor, 32 rows at a time: read where they lie, or packed when they are first met. A
// copy of all is kept when it is to be used again.
class LeftFactor {
 public:
  LeftFactor(const Factor& a, bool as_is, bool keep, std::byte* copy)
      : a_(a),
        as_is_(as_is),
        keep_(keep),
        copy_(copy),
        together_(a.transposed ? kTogether : kBlock),
        steps_(ceil_div(a.cols(), kDepth)) {}

  std::int64_t rows(std::int64_t i) const { return std::min(kBlock, a_.rows() - i); }

  Left tiles() const {
    const std::int64_t row = a_.view.ld * 2;
    return as_is_ ? Left{row, 64, kTile * row} : Left{64, kTileBytes, steps_ * kTileBytes};
  }

  // The first tile of rows [i, i + 32).
  const std::byte* at(std::int64_t i) {
    const View& v = a_.view;
    if (as_is_) return v.data + i * v.ld * 2;
    if (i >= packed_) {
      const std::int64_t count = std::min(together_, a_.rows() - i);
      if (a_.transposed)
        pack_left_transposed(v.columns(i, count), copy_of(i));
      else
        pack_left(v.row_range(i, count), copy_of(i));
      fence();
      packed_ = i + together_;
    }
    return copy_of(i);
  }

  // A part of what rows after [i, i + 32) will be read from.
  void fetch(std::int64_t i, Fetch& f) const {
    const View& v = a_.view;
    const std::int64_t size = size_of(v.dtype), next = i + kBlock;
    f.rows = f.done = 0;
    if (!exceeds_cache(v)) return;
    if (!a_.transposed || next + together_ <= packed_) {
      if (next >= a_.rows()) return;
      const bool packed = next < packed_;
      f.first = packed ? copy_of(next) : v.data + next * v.ld * size;
      f.row = v.ld * size;
      f.rows = packed ? 1 : rows(next);
      f.bytes = packed ? 2 * steps_ * kTileBytes : v.cols * size;
      return;
    }
    const std::int64_t columns = std::min(together_, a_.rows() - packed_);
    if (columns <= 0) return;
    const std::int64_t part = ceil_div(v.rows * kBlock, together_);
    const std::int64_t first = i % together_ / kBlock * part;
    f.first = v.data + (first * v.ld + packed_) * size;
    f.row = v.ld * size;
    f.rows = std::min(part, v.rows - first);
    f.bytes = columns * size;
  }

 private:
  std::byte* copy_of(std::int64_t i) const {
    return copy_ + (keep_ ? i : i % together_) * steps_ * 64;
  }

  const Factor& a_;
  bool as_is_, keep_;
  std::byte* copy_;
  std::int64_t together_, steps_, packed_ = 0;  // rows
};

void multiply(LeftFactor& left, const Right& right, std::int64_t steps, std::byte* sums,
              const Target& target) {
  const Left tiles = left.tiles();
  Blocks blocks(tiles, right, steps, sums, target);
  for (std::int64_t i = 0; i < target.c.rows; i += kBlock) {
    const std::byte* const first = left.at(i);
    left.fetch(i, blocks.next());
    blocks.multiply(first, i, left.rows(i));
  }
  blocks.end();
  fence();
}

// Rows of whole, aligned cache lines that are written once.
bool goes_past_caches(const View& c, const GemmOptions& o) {
  return !o.read_soon && !o.accumulate && o.scale == 1 && c.dtype == Dtype::F32 &&
         c.ld % kTile == 0 && reinterpret_cast<std::uintptr_t>(c.data) % 64 == 0;
}

std::int64_t gemm_scratch(std::int64_t m, std::int64_t n, std::int64_t k, Dtype c) {
  const std::int64_t depth = round_up(block_depth(k, c), kDepth);
  const std::int64_t strip = strip_columns(n, depth);
  return depth / 2 * (packed_rows(m, depth) + strip) + Blocks::sums_bytes(strip) / 4;
}

void gemm(const Factor& a, const Factor& b, const View& c, const GemmOptions& options,
          Scratch& scratch) {
  const std::int64_t m = a.rows(), n = b.cols(), k = a.cols();
  auto* const right = reinterpret_cast<std::byte*>(scratch.floats(gemm_scratch(m, n, k, c.dtype)));
  const std::int64_t block = std::max<std::int64_t>(1, block_depth(k, c.dtype));
  const bool past_caches = exceeds_cache(c) && k <= block && goes_past_caches(c, options);
  for (std::int64_t first = 0; first < std::max<std::int64_t>(1, k); first += block) {
    const std::int64_t count = std::min(block, k - first), steps = ceil_div(count, kDepth);
    const bool as_is = count % kDepth == 0 && reads_as_is(a, n);
    const std::int64_t strip = strip_columns(n, steps * kDepth);
    const std::int64_t height = as_is || n <= strip ? m : packed_rows(m, steps * kDepth);
    std::byte* const sums = right + strip * steps * 64;
    std::byte* const copy = sums + Blocks::sums_bytes(strip);
    for (std::int64_t top = 0; top < m; top += height) {
      const std::int64_t rows = std::min(height, m - top);
      const Factor part = part_of(a, top, rows, first, count);
      LeftFactor left(part, as_is, n > strip, copy);
      for (std::int64_t j = 0; j < n; j += strip) {
        const std::int64_t cols = std::min(strip, n - j);
        const Factor columns = part_of(transpose(b), j, cols, first, count);
        pack_factor(transpose(columns), right);
        fence();
        multiply(left, {right, steps * 2 * kTileBytes}, steps, sums,
                 {.c = c.row_range(top, rows).columns(j, cols),
                  .scale = options.scale,
                  .accumulate = options.accumulate || first > 0,
                  .far = exceeds_cache(c),
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
  return depth / 2 * packed_rows(m, depth) + Blocks::sums_bytes(n) / 4;
}

void packed_gemm(const Factor& a, const Packed& b, const View& c, const GemmOptions& options,
                 Scratch& scratch) {
  const std::int64_t m = a.rows(), k = a.cols(), steps = ceil_div(k, kDepth);
  const std::int64_t panel = ceil_div(b.rows, kDepth) * 2 * kTileBytes;
  const bool as_is = k % kDepth == 0 && reads_as_is(a, c.cols);
  auto* const sums =
      reinterpret_cast<std::byte*>(scratch.floats(packed_gemm_scratch(m, c.cols, k)));
  const Right right = {reinterpret_cast<const std::byte*>(b.memory) + b.col / kBlock * panel +
                           b.row / kDepth * 2 * kTileBytes,
                       panel};
  LeftFactor left(a, as_is, false, sums + Blocks::sums_bytes(c.cols));
  fence();
  multiply(left, right, steps, sums,
           {c, options.scale, options.accumulate, exceeds_cache(c), true});
  release();
}

}  // namespace

const Engine kEngine = {gemm,          gemm_scratch, pack,
                        packed_floats, packed_gemm,  packed_gemm_scratch,
                        hold,          let_go,       multiply_registers};

}  // namespace moebius::cpu::amx
