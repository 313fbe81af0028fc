#include "model/backends/cpu/amx.h"

#if defined(__x86_64__) && defined(__linux__)
#include <hwy/base.h>
#include <immintrin.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <array>

#include "model/backends/cpu/amx_tiles.h"

HWY_DIAGNOSTICS(push)  // GCC 12 finds undefined values in its own intrinsics (bug 105593)
HWY_DIAGNOSTICS_OFF(disable : 4701, ignored "-Wuninitialized")
HWY_DIAGNOSTICS_OFF(disable : 4701, ignored "-Wmaybe-uninitialized")
HWY_PUSH_ATTRIBUTES("amx-tile,amx-bf16,avx512f,avx512bw,avx512vl,avx512dq,avx512bf16")
namespace moebius::cpu::amx {
namespace {

// Measured: a processor of this kind brings 44 bytes a cycle from its L2 and takes 64 for products
// without a break. So a block of sums is 32 x 32, and the summed dimension is cut into chunks whose
// factors (16 KiB each) and sums stay in L1; blocks in between wait in L2.
constexpr std::int64_t kChunk = 256 / kDepth;  // steps

// Tiles 0-3 are sums, 4 and 5 come from the left, 6 and 7 from the right.
struct alignas(64) Configuration {
  std::uint8_t palette = 1, start = 0;
  std::array<std::uint8_t, 14> reserved = {};
  std::array<std::uint16_t, 16> row_bytes = {};
  std::array<std::uint8_t, 16> rows = {};
};

// What the calling thread's tiles are configured for, and who wants to keep that.
struct State {
  std::int64_t rows = 0;
  int sessions = 0;
};
thread_local State state;

// Tiles for blocks of `rows` rows.
void configure(std::int64_t rows) {
  if (state.rows == rows) return;
  state.rows = rows;
  // By rows: an instruction that reads 64 bytes just written in pieces would wait for them.
  static constexpr auto kByRows = [] {
    std::array<Configuration, kBlock + 1> all;
    for (std::size_t i = 1; i < all.size(); ++i) {
      const auto upper = static_cast<std::uint8_t>(std::min<std::size_t>(i, kTile));
      const auto lower = static_cast<std::uint8_t>(i > kTile ? i - kTile : 1);
      std::fill_n(all[i].row_bytes.begin(), 8, std::uint16_t{64});
      all[i].rows = {upper, upper, lower, lower, upper, lower, 16, 16};
    }
    return all;
  }();
  _tile_loadconfig(&kByRows[static_cast<std::size_t>(rows)]);
}

// Where rows [i, i + rows), columns [j, j + cols) of a target are: at most 32 of each.
struct Place {
  std::int64_t i, j, rows, cols;
};

// Adds the products of `steps` tiles to sums.
template <int Rows, int Cols>
HWY_INLINE void add_products(const Left& left, const std::byte* a, const std::byte* b,
                             std::int64_t steps) {
  for (std::int64_t k = 0; k < steps; ++k, a += left.step, b += 2 * kTileBytes) {
    _tile_loadd(6, b, 64);
    _tile_loadd(4, a, left.row);
    _tile_dpbf16ps(0, 4, 6);
    if constexpr (Cols == 2) {
      _tile_loadd(7, b + kTileBytes, 64);
      _tile_dpbf16ps(1, 4, 7);
    }
    if constexpr (Rows == 2) {
      _tile_loadd(5, a + left.tile, left.row);
      _tile_dpbf16ps(2, 5, 6);
      if constexpr (Cols == 2) _tile_dpbf16ps(3, 5, 7);
    }
  }
}

// Sums as four tiles of [16, 16], or as the rows of a matrix: bytes between rows, then tiles.
template <int Rows, int Cols>
HWY_INLINE void store_sums(std::byte* to, std::int64_t row, std::int64_t right,
                           std::int64_t below) {
  _tile_stored(0, to, row);
  if constexpr (Cols == 2) _tile_stored(1, to + right, row);
  if constexpr (Rows == 2) {
    _tile_stored(2, to + below, row);
    if constexpr (Cols == 2) _tile_stored(3, to + below + right, row);
  }
}

HWY_INLINE void clear_sums() {
  _tile_zero(0);
  _tile_zero(1);
  _tile_zero(2);
  _tile_zero(3);
}

// The same back.
template <int Rows, int Cols>
HWY_INLINE void load_sums(const std::byte* from, std::int64_t row, std::int64_t right,
                          std::int64_t below) {
  _tile_loadd(0, from, row);
  if constexpr (Cols == 2) _tile_loadd(1, from + right, row);
  if constexpr (Rows == 2) {
    _tile_loadd(2, from + below, row);
    if constexpr (Cols == 2) _tile_loadd(3, from + below + right, row);
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

// Most blocks: 32 columns of bf16, a cache line each.
void finish_halves(const std::byte* sums, float factor, std::byte* c, std::int64_t row,
                   std::int64_t rows) {
  const __m512 scale = _mm512_set1_ps(factor);
  for (std::int64_t y = 0; y < rows; ++y, c += row) {
    const std::byte* from = sums + y / kTile * 2 * kTileBytes + y % kTile * 64;
    const __m512 low = _mm512_mul_ps(_mm512_load_ps(from), scale);
    const __m512 high = _mm512_mul_ps(_mm512_load_ps(from + kTileBytes), scale);
    _mm512_storeu_si512(c, reinterpret_cast<__m512i>(_mm512_cvtne2ps_pbh(high, low)));
  }
}

// Whole cache lines past the caches: memory is not read before it is overwritten.
void stream_block(const std::byte* sums, const Target& t, const Place& at) {
  std::byte* c = t.at(at.i, at.j);
  for (std::int64_t y = 0; y < at.rows; ++y, c += t.c.ld * 4) {
    const std::byte* from = sums + y / kTile * 2 * kTileBytes + y % kTile * 64;
    _mm512_stream_ps(reinterpret_cast<float*>(c), _mm512_load_ps(from));
    if (at.cols > kTile)
      _mm512_stream_ps(reinterpret_cast<float*>(c + 64), _mm512_load_ps(from + kTileBytes));
  }
}

void finish_block(const std::byte* sums, const Target& t, const Place& at) {
  const std::int64_t row = t.c.ld * size_of(t.c.dtype), half = kTile * size_of(t.c.dtype);
  if (t.c.dtype == Dtype::BF16 && !t.accumulate && at.cols == kBlock)
    return finish_halves(sums, t.scale, t.at(at.i, at.j), row, at.rows);
  const __mmask16 low = first_lanes(at.cols), high = first_lanes(at.cols - kTile);
  std::byte* c = t.at(at.i, at.j);
  for (std::int64_t y = 0; y < at.rows; ++y, c += row) {
    const std::byte* from = sums + y / kTile * 2 * kTileBytes + y % kTile * 64;
    finish(_mm512_load_ps(from), t, c, low);
    if (high != 0) finish(_mm512_load_ps(from + kTileBytes), t, c + half, high);
  }
}

// Asks for a place of a target, to arrive in L2 while products are made.
HWY_INLINE void fetch(const Target& t, const Place& at) {
  const std::int64_t row = t.c.ld * size_of(t.c.dtype), bytes = at.cols * size_of(t.c.dtype);
  const std::byte* c = t.at(at.i, at.j);
  for (std::int64_t y = 0; y < at.rows; ++y, c += row) {
    _mm_prefetch(c, _MM_HINT_T1);
    if (bytes > 64) _mm_prefetch(c + 64, _MM_HINT_T1);
  }
}

struct Chunk {
  const std::byte* a;
  const std::byte* b;
  std::int64_t steps;
  bool first, last;
};

// A chunk of the sums of one place; between chunks they wait in `sums`.
template <int Rows, int Cols>
void multiply_block(const Left& left, const Chunk& chunk, std::byte* sums, const Target& t,
                    const Place& at) {
  const bool whole = at.cols == Cols * kTile, streamed = t.past_caches && whole;
  if (chunk.first && t.far && !streamed) fetch(t, at);
  const bool in_place = t.c.dtype == Dtype::F32 && t.scale == 1 && whole && !streamed &&
                        (!t.accumulate || t.continued);
  const std::int64_t row = t.c.ld * size_of(Dtype::F32);
  if (!chunk.first)
    load_sums<Rows, Cols>(sums, 64, kTileBytes, 2 * kTileBytes);
  else if (in_place && t.accumulate)
    load_sums<Rows, Cols>(t.at(at.i, at.j), row, 64, kTile * row);
  else
    clear_sums();
  add_products<Rows, Cols>(left, chunk.a, chunk.b, chunk.steps);
  if (chunk.last && in_place) return store_sums<Rows, Cols>(t.at(at.i, at.j), row, 64, kTile * row);
  store_sums<Rows, Cols>(sums, 64, kTileBytes, 2 * kTileBytes);
  fence();
  if (!chunk.last) return;
  if (streamed)
    stream_block(sums, t, at);
  else
    finish_block(sums, t, at);
}

bool permitted() {
  constexpr long kRequestPermission = 0x1023, kTileData = 18;  // of arch_prctl (Linux 5.16)
  return syscall(SYS_arch_prctl, kRequestPermission, kTileData) == 0;
}

}  // namespace

bool available() {
  static const bool yes = __builtin_cpu_supports("amx-bf16") &&
                          __builtin_cpu_supports("avx512bf16") &&
                          __builtin_cpu_supports("avx512bw") && permitted();
  return yes;
}

void release() {
  if (state.sessions > 0) return;
  state.rows = 0;
  _tile_release();
}

// All of c.
void multiply(const Left& left, const Right& right, std::int64_t steps, std::byte* sums,
              const Target& t) {
  for (std::int64_t i = 0; i < t.c.rows; i += kBlock) {
    const std::int64_t rows = std::min(kBlock, t.c.rows - i);
    configure(rows);
    const std::byte* const a = left.first + i / kTile * left.tile;
    for (std::int64_t k = 0; k < std::max<std::int64_t>(1, steps); k += kChunk) {
      Chunk chunk = {a + k * left.step, right.first + k * 2 * kTileBytes,
                     std::min(kChunk, steps - k), k == 0, k + kChunk >= steps};
      for (std::int64_t j = 0; j < t.c.cols; j += kBlock, chunk.b += right.panel) {
        const Place at = {i, j, rows, std::min(kBlock, t.c.cols - j)};
        std::byte* const place = sums + (steps > kChunk ? j / kBlock * 4 * kTileBytes : 0);
        const auto block = rows > kTile
                               ? (at.cols > kTile ? multiply_block<2, 2> : multiply_block<2, 1>)
                               : (at.cols > kTile ? multiply_block<1, 2> : multiply_block<1, 1>);
        block(left, chunk, place, t, at);
      }
    }
  }
  fence();
}

Session::Session() { ++state.sessions; }
Session::~Session() {
  --state.sessions;
  if (state.rows > 0) release();
}

double multiply_registers(std::int64_t rounds) {
  configure(kBlock);
  clear_sums();
  _tile_zero(4);
  _tile_zero(5);
  _tile_zero(6);
  _tile_zero(7);
  for (std::int64_t i = 0; i < rounds; ++i) {
    _tile_dpbf16ps(0, 4, 6);
    _tile_dpbf16ps(1, 4, 7);
    _tile_dpbf16ps(2, 5, 6);
    _tile_dpbf16ps(3, 5, 7);
  }
  release();
  return 2.0 * 4 * kTile * kTile * kDepth * static_cast<double>(rounds);
}

}  // namespace moebius::cpu::amx
HWY_POP_ATTRIBUTES
HWY_DIAGNOSTICS(pop)

#else
namespace moebius::cpu::amx {

bool available() { return false; }
Session::Session() = default;
Session::~Session() = default;
double multiply_registers(std::int64_t) { return 0; }

}  // namespace moebius::cpu::amx
#endif
