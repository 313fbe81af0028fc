#include "model/backends/cpu/amx_blocks.h"

#include <hwy/base.h>
#include <immintrin.h>

#include <algorithm>
#include <array>

HWY_DIAGNOSTICS(push)  // GCC 12 finds undefined values in its own intrinsics (bug 105593)
HWY_DIAGNOSTICS_OFF(disable : 4701, ignored "-Wuninitialized")
HWY_DIAGNOSTICS_OFF(disable : 4701, ignored "-Wmaybe-uninitialized")
HWY_PUSH_ATTRIBUTES(MOEBIUS_AMX_ATTRIBUTES)
namespace moebius::cpu::amx {
namespace {

// Measured: a processor of this kind brings 44 bytes a cycle from its L2 and takes 64 for products
// without a break. So a block of sums is 32 x 32, and the summed dimension is cut into chunks,
// whose left factor (32 KiB) stays in L1. The right one streams by, and blocks in between wait in
// L2.
constexpr std::int64_t kChunk = 512 / kDepth;  // steps
// Up to so many steps a block is finished before the next one begins: its products are too few to
// hide the end of another block, and both factors fit L1 as they are.
constexpr std::int64_t kShort = 8;
constexpr std::int64_t kNearBytes = 32 << 10;  // a right factor that stays in L1

// Rows to finish in a step, so that all are done before the last of `steps` (the first one has
// none), and cache lines of c to ask for.
constexpr auto kRowsEach = [] {
  std::array<std::int64_t, kChunk + 1> each = {kBlock, kBlock};
  for (std::size_t steps = 2; steps < each.size(); ++steps)
    each[steps] = ceil_div(kBlock, static_cast<std::int64_t>(steps) - 1);
  return each;
}();
constexpr auto kLinesEach = [] {
  std::array<std::int64_t, kChunk + 1> each = {};
  for (std::size_t steps = 1; steps < each.size(); ++steps)
    each[steps] = ceil_div(2 * kBlock, static_cast<std::int64_t>(steps));
  return each;
}();

// Sums as four tiles of [16, 16]: bytes between rows, from a tile to the one on its right, and to
// the one below.
template <int Rows, int Cols>
HWY_INLINE void store_sums(std::byte* to, std::int64_t row, std::int64_t right,
                           std::int64_t below) {
  _tile_stored(0, to, row);
  if constexpr (Cols == 2) _tile_stored(1, to + right, row);
  if constexpr (Rows == 2) {
    _tile_stored(2, to + below, row);
    if constexpr (Cols == 2) _tile_stored(3, to + below + right, row);
  }
  fence();
}

// The same back, or zeros.
template <int Rows, int Cols>
HWY_INLINE void load_sums(bool zero, const std::byte* from, std::int64_t row, std::int64_t right,
                          std::int64_t below) {
  if (zero) {
    _tile_zero(0);
    _tile_zero(1);
    _tile_zero(2);
    _tile_zero(3);
    return;
  }
  _tile_loadd(0, from, row);
  if constexpr (Cols == 2) _tile_loadd(1, from + right, row);
  if constexpr (Rows == 2) {
    _tile_loadd(2, from + below, row);
    if constexpr (Cols == 2) _tile_loadd(3, from + below + right, row);
  }
}

// A tile of the right factor. One that streams by does not push the left factor out of L1.
template <bool Stream, int Column>
HWY_INLINE void load_right(const std::byte* b) {
  if constexpr (Column == 0) {
    if constexpr (Stream)
      _tile_stream_loadd(6, b, 64);
    else
      _tile_loadd(6, b, 64);
  } else {
    if constexpr (Stream)
      _tile_stream_loadd(7, b + kTileBytes, 64);
    else
      _tile_loadd(7, b + kTileBytes, 64);
  }
}

// Adds the products of one step: 32 elements of the summed dimension.
template <int Rows, int Cols, bool Stream>
HWY_INLINE void add_products(const Left& left, const std::byte* a, const std::byte* b) {
  load_right<Stream, 0>(b);
  _tile_loadd(4, a, left.row);
  _tile_dpbf16ps(0, 4, 6);
  if constexpr (Cols == 2) {
    load_right<Stream, 1>(b);
    _tile_dpbf16ps(1, 4, 7);
  }
  if constexpr (Rows == 2) {
    _tile_loadd(5, a + left.tile, left.row);
    _tile_dpbf16ps(2, 5, 6);
    if constexpr (Cols == 2) _tile_dpbf16ps(3, 5, 7);
  }
}

// c = scale * sums (+ c) in 16 columns of a row.
HWY_INLINE void finish(__m512 sum, const Target& t, std::byte* c, __mmask16 mask) {
  const __m512 scale = _mm512_set1_ps(t.scale);
  if (t.c.dtype == Dtype::F32) {
    const __m512 value = t.accumulate ? _mm512_fmadd_ps(sum, scale, _mm512_maskz_loadu_ps(mask, c))
                                      : _mm512_mul_ps(sum, scale);
    return _mm512_mask_storeu_ps(c, mask, value);
  }
  __m512 value = _mm512_mul_ps(sum, scale);
  if (t.accumulate) {
    const __m512i old = _mm512_cvtepu16_epi32(_mm256_maskz_loadu_epi16(mask, c));
    value = _mm512_fmadd_ps(sum, scale, _mm512_castsi512_ps(_mm512_slli_epi32(old, 16)));
  }
  _mm256_mask_storeu_epi16(c, mask, reinterpret_cast<__m256i>(_mm512_cvtneps_pbh(value)));
}

HWY_INLINE void fetch(Fetch& f, std::int64_t lines) {
  for (; lines > 0 && f.rows > 0; --lines) {
    _mm_prefetch(f.first + f.done, _MM_HINT_T1);
    f.done += 64;
    if (f.done < f.bytes) continue;
    f.done = 0;
    f.first += f.row;
    --f.rows;
  }
}

// Where row y of packed sums is.
HWY_INLINE const std::byte* row_of_sums(const std::byte* sums, std::int64_t y) {
  return sums + y / kTile * 2 * kTileBytes + y % kTile * 64;
}

// Rows [first, end) of sums into c as 32 columns of bf16, a cache line each: most blocks.
void finish_lines(const std::byte* sums, float factor, std::byte* c, std::int64_t row,
                  std::int64_t first, std::int64_t end) {
  const __m512 scale = _mm512_set1_ps(factor);
  for (std::int64_t y = first; y < end;) {
    const std::byte* from = row_of_sums(sums, y);
    const std::int64_t until = std::min(end, round_up(y + 1, kTile));  // of a tile
    for (; y < until; ++y, from += 64, c += row) {
      const __m512 left = _mm512_mul_ps(_mm512_load_ps(from), scale);
      const __m512 right = _mm512_mul_ps(_mm512_load_ps(from + kTileBytes), scale);
      _mm512_storeu_si512(c, reinterpret_cast<__m512i>(_mm512_cvtne2ps_pbh(right, left)));
    }
  }
}

// Whole cache lines past the caches: memory is not read before it is overwritten.
void stream_lines(const std::byte* sums, std::byte* c, std::int64_t row, bool two,
                  std::int64_t first, std::int64_t end) {
  for (std::int64_t y = first; y < end; ++y, c += row) {
    const std::byte* from = row_of_sums(sums, y);
    _mm512_stream_ps(reinterpret_cast<float*>(c), _mm512_load_ps(from));
    if (two) _mm512_stream_ps(reinterpret_cast<float*>(c + 64), _mm512_load_ps(from + kTileBytes));
  }
}

}  // namespace

// Rows [first, end) of a block at c from its packed sums.
void Blocks::finish_rows(const std::byte* sums, std::byte* c, std::int64_t cols, std::int64_t first,
                         std::int64_t end) const {
  const Target t = target_;  // stores to c might change the other one
  const std::int64_t row = row_, half = kTile * size_;
  c += first * row;
  if (t.c.dtype == Dtype::BF16 && !t.accumulate && cols == kBlock)
    return finish_lines(sums, t.scale, c, row, first, end);
  if (t.past_caches && cols % kTile == 0)
    return stream_lines(sums, c, row, cols > kTile, first, end);
  const __mmask16 low = first_lanes(cols), high = first_lanes(cols - kTile);
  for (std::int64_t y = first; y < end; ++y, c += row) {
    const std::byte* from = row_of_sums(sums, y);
    finish(_mm512_load_ps(from), t, c, low);
    if (high != 0) finish(_mm512_load_ps(from + kTileBytes), t, c + half, high);
  }
}

// A chunk of the sums of one block; between chunks they wait in `sums`.
template <int Rows, int Cols>
void Blocks::multiply_alone(const Chunk& chunk, const std::byte* b, std::byte* sums, std::byte* c,
                            std::int64_t cols) {
  const bool in_place = in_place_ && cols == Cols * kTile;
  if (chunk.first && in_place && target_.accumulate)
    load_sums<Rows, Cols>(false, c, row_, 64, kTile * row_);
  else
    load_sums<Rows, Cols>(chunk.first, sums, 64, kTileBytes, 2 * kTileBytes);
  Fetch target = {c, row_, chunk.lines_each > 0 ? chunk.rows : 0, cols * size_};
  const std::byte* a = chunk.left;
  const Left left = left_;
  const bool asks = target.rows > 0 || next_.rows > 0;
  for (std::int64_t k = 0; k < chunk.steps; ++k, a += left.step, b += 2 * kTileBytes) {
    add_products<Rows, Cols, false>(left, a, b);
    if (!asks) continue;
    fetch(target, chunk.lines_each);
    fetch(next_, next_each_);
  }
  if (chunk.last && in_place) return store_sums<Rows, Cols>(c, row_, 64, kTile * row_);
  store_sums<Rows, Cols>(sums, 64, kTileBytes, 2 * kTileBytes);
  if (chunk.last) finish_rows(sums, c, cols, 0, chunk.rows);
}

// The same in turn with other blocks of four tiles. Nothing here is copied that was written just
// before: a load of several such numbers at once waits for all stores.
template <bool Stream>
void Blocks::multiply_in_turn(const Chunk& chunk, const std::byte* b, std::byte* sums, std::byte* c,
                              std::int64_t cols) {
  const bool in_place = in_place_ && cols == kBlock;
  const bool from_c = chunk.first && in_place && target_.accumulate;
  const bool zero = chunk.first && !from_c;
  const std::byte* const from = from_c ? c : sums;
  const std::int64_t row = from_c ? row_ : 64, right = from_c ? 64 : kTileBytes,
                     below = from_c ? kTile * row_ : 2 * kTileBytes;
  Fetch target = {c, row_, chunk.lines_each > 0 ? chunk.rows : 0, cols * size_};
  const std::byte* a = chunk.left;
  const Block& old = blocks_[turn_];
  std::int64_t k = 0;
  if (in_tiles_) {
    load_right<Stream, 0>(b);
    _tile_loadd(4, a, left_.row);
    _tile_stored(0, old.sums, old.row);
    if (zero)
      _tile_zero(0);
    else
      _tile_loadd(0, from, row);
    _tile_dpbf16ps(0, 4, 6);
    load_right<Stream, 1>(b);
    _tile_stored(1, old.sums + old.right, old.row);
    if (zero)
      _tile_zero(1);
    else
      _tile_loadd(1, from + right, row);
    _tile_dpbf16ps(1, 4, 7);
    _tile_loadd(5, a + left_.tile, left_.row);
    _tile_stored(2, old.sums + old.below, old.row);
    if (zero)
      _tile_zero(2);
    else
      _tile_loadd(2, from + below, row);
    _tile_dpbf16ps(2, 5, 6);
    _tile_stored(3, old.sums + old.below + old.right, old.row);
    if (zero)
      _tile_zero(3);
    else
      _tile_loadd(3, from + below + right, row);
    _tile_dpbf16ps(3, 5, 7);
    fence();
    k = 1;
  } else {
    load_sums<2, 2>(zero, from, row, right, below);
  }
  for (; k < chunk.steps; ++k) {
    add_products<2, 2, Stream>(left_, a + k * left_.step, b + k * 2 * kTileBytes);
    finish_stored(chunk.rows_each);
    fetch(target, chunk.lines_each);
    fetch(next_, next_each_);
  }

  if (in_tiles_ && old.finish) finished_ = 0;
  in_tiles_ = true;
  turn_ ^= 1;
  const bool in_c = chunk.last && in_place;
  Block& now = blocks_[turn_];
  now.sums = in_c ? c : sums;
  now.row = in_c ? row_ : 64;
  now.right = in_c ? 64 : kTileBytes;
  now.below = in_c ? kTile * row_ : 2 * kTileBytes;
  now.c = c;
  now.rows = chunk.rows;
  now.cols = cols;
  now.finish = chunk.last && !in_place;
}

void Blocks::finish_stored(std::int64_t rows) {
  if (finished_ == kBlock) return;
  const Block& block = blocks_[turn_ ^ 1];
  const std::int64_t first = finished_;
  finished_ = std::min(kBlock, first + rows);
  finish_rows(block.sums, block.c, block.cols, first, std::min(finished_, block.rows));
}

void Blocks::end() {
  finish_stored(kBlock);
  if (!in_tiles_) return;
  const Block& old = blocks_[turn_];
  store_sums<2, 2>(old.sums, old.row, old.right, old.below);
  in_tiles_ = false;
  if (old.finish) finish_rows(old.sums, old.c, old.cols, 0, old.rows);
}

Blocks::Blocks(const Left& left, const Right& right, std::int64_t steps, std::byte* sums,
               const Target& target)
    : left_(left),
      right_(right),
      target_(target),
      steps_(steps),
      panels_(ceil_div(target.c.cols, kBlock)),
      sums_(sums),
      size_(size_of(target.c.dtype)),
      row_(target.c.ld * size_),
      in_place_(target.c.dtype == Dtype::F32 && target.scale == 1 && !target.past_caches &&
                (!target.accumulate || target.continued)),
      asks_(target.far && !target.past_caches) {}

void Blocks::multiply(const std::byte* left, std::int64_t i, std::int64_t rows) {
  if (next_.rows > 0)
    next_each_ = ceil_div(next_.lines(), std::max<std::int64_t>(1, panels_ * steps_));
  // One panel needs no chunks: nothing else stays in L1 for long.
  const std::int64_t chunks = panels_ > 1 ? ceil_div(steps_, kChunk) : 1;
  const std::int64_t length =
      std::max<std::int64_t>(1, chunks > 1 ? ceil_div(steps_, chunks) : steps_);
  if (rows < kBlock) end();
  configure(rows);
  for (std::int64_t k = 0; k == 0 || k < steps_; k += length) {
    const std::int64_t steps = std::min(length, steps_ - k);
    const auto at = static_cast<std::size_t>(std::min(steps, kChunk));
    const Chunk chunk = {.left = left + k * left_.step,
                         .rows = rows,
                         .steps = steps,
                         .rows_each = kRowsEach[at],
                         .lines_each = asks_ && k == 0 ? kLinesEach[at] : 0,
                         .first = k == 0,
                         .last = k + length >= steps_};
    const bool streams = panels_ * right_.panel >= kNearBytes;
    const bool alone = rows <= kTile || panels_ == 1 || steps <= kShort;
    if (alone) end();
    const std::byte* b = right_.first + k * 2 * kTileBytes;
    std::byte* c = target_.at(i, 0);
    std::int64_t left_over = target_.c.cols;
    for (std::int64_t panel = 0; panel < panels_; ++panel) {
      const std::int64_t cols = std::min(kBlock, left_over);
      std::byte* const sums = sums_ + (chunks > 1 ? panel : turn_ ^ 1) * 4 * kTileBytes;
      if (cols <= kTile) {
        end();
        rows > kTile ? multiply_alone<2, 1>(chunk, b, sums, c, cols)
                     : multiply_alone<1, 1>(chunk, b, sums, c, cols);
      } else if (alone) {
        rows > kTile ? multiply_alone<2, 2>(chunk, b, sums, c, cols)
                     : multiply_alone<1, 2>(chunk, b, sums, c, cols);
      } else {
        streams ? multiply_in_turn<true>(chunk, b, sums, c, cols)
                : multiply_in_turn<false>(chunk, b, sums, c, cols);
      }
      left_over -= cols;
      b += right_.panel;
      c += cols * size_;
    }
  }
}

}  // namespace moebius::cpu::amx
HWY_POP_ATTRIBUTES
HWY_DIAGNOSTICS(pop)
