#include "model/backends/cpu/amx.h"

#if defined(__x86_64__) && defined(__linux__)
#include <hwy/base.h>
#include <immintrin.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <array>

#include "model/backends/cpu/amx_pack.h"
#include "model/backends/cpu/matrix.h"

HWY_DIAGNOSTICS(push)  // GCC 12 finds undefined values in its own intrinsics (bug 105593)
HWY_DIAGNOSTICS_OFF(disable : 4701, ignored "-Wuninitialized")
HWY_DIAGNOSTICS_OFF(disable : 4701, ignored "-Wmaybe-uninitialized")
HWY_PUSH_ATTRIBUTES("amx-tile,amx-bf16,avx512f,avx512bw,avx512vl,avx512dq,avx512bf16")
namespace moebius::cpu::amx {
namespace {

constexpr std::int64_t kBlock = 2 * kTile;  // rows and columns that are summed together
constexpr std::int64_t kLongest = 2048;  // elements of the summed dimension in f32 sums at a time
constexpr std::int64_t kStripBytes = 1 << 20;  // of the right factor, packed at a time: half an L2
constexpr std::int64_t kLeftBytes = 2 << 20;   // of the left factor

// Tiles 0-3 are sums, 4 and 5 come from the left, 6 and 7 from the right.
struct alignas(64) Configuration {
  std::uint8_t palette = 1, start = 0;
  std::array<std::uint8_t, 14> reserved = {};
  std::array<std::uint16_t, 16> row_bytes = {};
  std::array<std::uint8_t, 16> rows = {};
};

// GCC does not know that tile instructions touch memory.
HWY_INLINE void fence() { asm volatile("" ::: "memory"); }

// Tiles for blocks of `rows` rows. Their content is gone.
void configure(std::int64_t rows) {
  const auto upper = static_cast<std::uint8_t>(std::min(rows, kTile));
  const auto lower = static_cast<std::uint8_t>(std::max<std::int64_t>(1, rows - kTile));
  Configuration c;
  std::fill_n(c.row_bytes.begin(), 8, std::uint16_t{64});
  c.rows = {upper, upper, lower, lower, upper, lower, 16, 16};
  asm volatile("" : : "r"(&c) : "memory");
  _tile_loadconfig(&c);
}

// Tiles of the left factor: bytes from one row to the next, one step, one tile of rows.
struct Left {
  const std::byte* first;
  std::int64_t row, step, tile;
};

// Where sums go.
struct Target {
  View c;
  float scale;
  bool accumulate;
  bool far;  // too large for a near cache

  bool direct() const { return c.dtype == Dtype::F32 && scale == 1; }
  std::byte* at(std::int64_t i, std::int64_t j) const {
    return c.data + (i * c.ld + j) * size_of(c.dtype);
  }
};

// Sums of up to 32 x 32, on their way to or from a target.
struct alignas(64) Block {
  float sums[kBlock][kBlock];
};

__mmask16 lanes(std::int64_t count) {
  return count >= 16 ? __mmask16{0xffff} : static_cast<__mmask16>((1u << count) - 1);
}

// Adds the products of `steps` tiles to sums; meanwhile asks for the rows at `next`, `apart` bytes
// from each other.
template <int Rows, int Cols>
HWY_INLINE void add_products(const Left& left, const std::byte* a, const std::byte* b,
                             std::int64_t steps, const std::byte* next, std::int64_t apart) {
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
    if (next != nullptr && k < kBlock) {
      __builtin_prefetch(next + k * apart, 1);
      __builtin_prefetch(next + k * apart + 64, 1);
    }
  }
}

template <int Rows, int Cols>
HWY_INLINE void load_sums(const float* from, std::int64_t ld) {
  const std::int64_t row = 4 * ld;
  _tile_loadd(0, from, row);
  if constexpr (Cols == 2) _tile_loadd(1, from + kTile, row);
  if constexpr (Rows == 2) {
    _tile_loadd(2, from + kTile * ld, row);
    if constexpr (Cols == 2) _tile_loadd(3, from + kTile * ld + kTile, row);
  }
}

HWY_INLINE void zero_sums() {
  _tile_zero(0);
  _tile_zero(1);
  _tile_zero(2);
  _tile_zero(3);
}

template <int Rows, int Cols>
HWY_INLINE void store_sums(float* to, std::int64_t ld) {
  const std::int64_t row = 4 * ld;
  _tile_stored(0, to, row);
  if constexpr (Cols == 2) _tile_stored(1, to + kTile, row);
  if constexpr (Rows == 2) {
    _tile_stored(2, to + kTile * ld, row);
    if constexpr (Cols == 2) _tile_stored(3, to + kTile * ld + kTile, row);
  }
}

// scale * sums (+ c) -> c
void finish(const Block& block, const Target& t, std::int64_t i, std::int64_t j, std::int64_t rows,
            std::int64_t cols) {
  const __m512 scale = _mm512_set1_ps(t.scale);
  for (std::int64_t x = 0; x < cols; x += 16) {
    const __mmask16 mask = lanes(cols - x);
    for (std::int64_t y = 0; y < rows; ++y) {
      const __m512 sum = _mm512_load_ps(&block.sums[y][x]);
      if (t.c.dtype == Dtype::F32) {
        auto* const to = reinterpret_cast<float*>(t.at(i + y, j + x));
        const __m512 value = t.accumulate
                                 ? _mm512_fmadd_ps(sum, scale, _mm512_maskz_loadu_ps(mask, to))
                                 : _mm512_mul_ps(sum, scale);
        _mm512_mask_storeu_ps(to, mask, value);
      } else {
        std::byte* const to = t.at(i + y, j + x);
        __m512 value = _mm512_mul_ps(sum, scale);
        if (t.accumulate) {
          const __m512i old = _mm512_cvtepu16_epi32(_mm256_maskz_loadu_epi16(mask, to));
          value = _mm512_fmadd_ps(sum, scale, _mm512_castsi512_ps(_mm512_slli_epi32(old, 16)));
        }
        _mm256_mask_storeu_epi16(to, mask, reinterpret_cast<__m256i>(_mm512_cvtneps_pbh(value)));
      }
    }
  }
}

// Rows [i, i + rows), columns [j, j + cols) of c, at most 32 of each.
template <int Rows, int Cols>
void multiply_block(const Left& left, const std::byte* b, std::int64_t steps, const Target& t,
                    std::int64_t i, std::int64_t j, std::int64_t rows, std::int64_t cols) {
  const std::byte* const a = left.first + i / kTile * left.tile;
  const bool whole = cols == Cols * kTile;
  const bool ahead = t.far && j + kBlock + cols <= t.c.cols && rows == kBlock;
  const std::byte* const next = ahead ? t.at(i, j + kBlock) : nullptr;
  const std::int64_t apart = t.c.ld * size_of(t.c.dtype);
  Block block;
  if (t.direct()) {  // sums start from c and go back to it
    auto* const c = reinterpret_cast<float*>(t.at(i, j));
    if (!t.accumulate) {
      zero_sums();
    } else if (whole) {
      load_sums<Rows, Cols>(c, t.c.ld);
    } else {
      for (std::int64_t y = 0; y < rows; ++y)
        for (std::int64_t x = 0; x < Cols; ++x)
          _mm512_store_ps(&block.sums[y][x * kTile],
                          _mm512_maskz_loadu_ps(lanes(std::max<std::int64_t>(0, cols - x * kTile)),
                                                c + y * t.c.ld + x * kTile));
      fence();
      load_sums<Rows, Cols>(block.sums[0], kBlock);
    }
    add_products<Rows, Cols>(left, a, b, steps, next, apart);
    if (whole) return store_sums<Rows, Cols>(c, t.c.ld);
    store_sums<Rows, Cols>(block.sums[0], kBlock);
    fence();
    return finish(block, {t.c, 1, false, false}, i, j, rows, cols);
  }
  zero_sums();
  add_products<Rows, Cols>(left, a, b, steps, next, apart);
  store_sums<Rows, Cols>(block.sums[0], kBlock);
  fence();
  finish(block, t, i, j, rows, cols);
}

// All of c, from panels of b.
void multiply(const Left& left, const std::byte* b, std::int64_t steps, const Target& t) {
  std::int64_t configured = 0;
  for (std::int64_t i = 0; i < t.c.rows; i += kBlock) {
    const std::int64_t rows = std::min(kBlock, t.c.rows - i);
    if (rows != configured) configure(configured = rows);
    const std::byte* panel = b;
    for (std::int64_t j = 0; j < t.c.cols; j += kBlock, panel += steps * 2 * kTileBytes) {
      const std::int64_t cols = std::min(kBlock, t.c.cols - j);
      const auto block = rows > kTile
                             ? (cols > kTile ? multiply_block<2, 2> : multiply_block<2, 1>)
                             : (cols > kTile ? multiply_block<1, 2> : multiply_block<1, 1>);
      block(left, panel, steps, t, i, j, rows, cols);
    }
  }
  fence();
}

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

std::int64_t gemm_scratch(std::int64_t m, std::int64_t n, std::int64_t k, Dtype c) {
  const std::int64_t depth = round_up(block_depth(k, c), kDepth);
  return depth / 2 * (packed_rows(m, depth) + strip_columns(n, depth));
}

void gemm(const Factor& a, const Factor& b, const View& c, const GemmOptions& options,
          Scratch& scratch) {
  const std::int64_t m = a.rows(), n = b.cols(), k = a.cols();
  auto* const right = reinterpret_cast<std::byte*>(scratch.floats(gemm_scratch(m, n, k, c.dtype)));
  const std::int64_t block = std::max<std::int64_t>(1, block_depth(k, c.dtype));
  for (std::int64_t first = 0; first < std::max<std::int64_t>(1, k); first += block) {
    const std::int64_t count = std::min(block, k - first), steps = ceil_div(count, kDepth);
    const bool as_is = !a.transposed && a.view.dtype == Dtype::BF16 && count % kDepth == 0;
    const std::int64_t strip = strip_columns(n, steps * kDepth);
    const std::int64_t height = as_is ? m : packed_rows(m, steps * kDepth);
    std::byte* const copy = right + strip * steps * 64;
    for (std::int64_t top = 0; top < m; top += height) {
      const std::int64_t rows = std::min(height, m - top);
      Left left = {copy, 64, kTileBytes, steps * kTileBytes};
      if (as_is) {
        const std::int64_t row = a.view.ld * 2;
        left = {a.view.data + top * row + first * 2, row, 64, kTile * row};
      } else if (a.transposed) {
        pack_left_transposed(a.view.row_range(first, count).columns(top, rows), copy);
      } else {
        pack_left(a.view.row_range(top, rows).columns(first, count), copy);
      }
      for (std::int64_t j = 0; j < n; j += strip) {
        const std::int64_t cols = std::min(strip, n - j);
        if (b.transposed)
          pack_right_transposed(b.view.row_range(j, cols).columns(first, count), right);
        else
          pack_right(b.view.row_range(first, count).columns(j, cols), right);
        fence();
        multiply(left, right, steps,
                 {c.row_range(top, rows).columns(j, cols), options.scale,
                  options.accumulate || first > 0, c.rows * c.ld * size_of(c.dtype) > (1 << 20)});
      }
    }
  }
  _tile_release();
}

double multiply_registers(std::int64_t rounds) {
  configure(kBlock);
  zero_sums();
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
  _tile_release();
  return 2.0 * 4 * kTile * kTile * kDepth * static_cast<double>(rounds);
}

}  // namespace moebius::cpu::amx
HWY_POP_ATTRIBUTES
HWY_DIAGNOSTICS(pop)

#else
namespace moebius::cpu::amx {

bool available() { return false; }
void gemm(const Factor&, const Factor&, const View&, const GemmOptions&, Scratch&) {}
std::int64_t gemm_scratch(std::int64_t, std::int64_t, std::int64_t, Dtype) { return 0; }
double multiply_registers(std::int64_t) { return 0; }

}  // namespace moebius::cpu::amx
#endif
