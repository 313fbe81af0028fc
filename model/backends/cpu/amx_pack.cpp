#include "model/backends/cpu/amx_pack.h"

#include <hwy/base.h>
#include <immintrin.h>

#include "model/backends/cpu/matrix.h"
#include "model/backends/cpu/scratch.h"

HWY_DIAGNOSTICS(push)  // GCC 12 finds undefined values in its own intrinsics (bug 105593)
HWY_DIAGNOSTICS_OFF(disable : 4701, ignored "-Wuninitialized")
HWY_DIAGNOSTICS_OFF(disable : 4701, ignored "-Wmaybe-uninitialized")
HWY_PUSH_ATTRIBUTES("avx512f,avx512bw,avx512vl,avx512dq,avx512bf16")
namespace moebius::cpu::amx {
namespace {

constexpr int kHalf = 16;  // elements of half a tile's row

// Up to 16 elements as bf16, zeros behind.
HWY_INLINE __m256i halves(const Bf16* from, __mmask16 mask) {
  return _mm256_maskz_loadu_epi16(mask, from);
}
HWY_INLINE __m256i halves(const float* from, __mmask16 mask) {
  return reinterpret_cast<__m256i>(_mm512_cvtneps_pbh(_mm512_maskz_loadu_ps(mask, from)));
}

// Up to 32 elements of a row.
template <class T>
HWY_INLINE __m512i line(const T* from, std::int64_t count) {
  if constexpr (sizeof(T) == 2)
    if (count >= kDepth) return _mm512_loadu_si512(from);
  const __m256i low = halves(from, first_lanes(count));
  const __m256i high =
      count > kHalf ? halves(from + kHalf, first_lanes(count - kHalf)) : _mm256_setzero_si256();
  return _mm512_inserti64x4(_mm512_castsi256_si512(low), high, 1);
}

// Pairs (low[j], high[j]) of 16 columns.
HWY_INLINE __m512i pairs(__m256i low, __m256i high) {
  alignas(64) static constexpr std::uint16_t kInterleave[32] = {
      0, 16, 1, 17, 2,  18, 3,  19, 4,  20, 5,  21, 6,  22, 7,  23,
      8, 24, 9, 25, 10, 26, 11, 27, 12, 28, 13, 29, 14, 30, 15, 31};
  return _mm512_permutexvar_epi16(_mm512_load_si512(kInterleave),
                                  _mm512_inserti64x4(_mm512_castsi256_si512(low), high, 1));
}

// Pairs of rows k and k + 1 of a matrix; rows beyond the last one are zero.
template <class T>
HWY_INLINE __m512i pairs_of_rows(const Matrix<T>& from, std::int64_t k, std::int64_t column,
                                 __mmask16 mask) {
  const __m256i none = _mm256_setzero_si256();
  const __m256i low = k < from.rows ? halves(from.row(k) + column, mask) : none;
  const __m256i high = k + 1 < from.rows ? halves(from.row(k + 1) + column, mask) : none;
  return pairs(low, high);
}

// [16, 16] numbers of four bytes.
HWY_INLINE void transpose(__m512i (&v)[16]) {
  __m512i t[16];
#pragma GCC unroll 8
  for (int i = 0; i < 16; i += 2) {
    t[i] = _mm512_unpacklo_epi32(v[i], v[i + 1]);
    t[i + 1] = _mm512_unpackhi_epi32(v[i], v[i + 1]);
  }
#pragma GCC unroll 4
  for (int i = 0; i < 16; i += 4) {
    v[i] = _mm512_unpacklo_epi64(t[i], t[i + 2]);
    v[i + 1] = _mm512_unpackhi_epi64(t[i], t[i + 2]);
    v[i + 2] = _mm512_unpacklo_epi64(t[i + 1], t[i + 3]);
    v[i + 3] = _mm512_unpackhi_epi64(t[i + 1], t[i + 3]);
  }
#pragma GCC unroll 4
  for (int i = 0; i < 4; ++i) {
    t[i] = _mm512_shuffle_i32x4(v[i], v[i + 4], 0x88);
    t[i + 4] = _mm512_shuffle_i32x4(v[i], v[i + 4], 0xdd);
    t[i + 8] = _mm512_shuffle_i32x4(v[i + 8], v[i + 12], 0x88);
    t[i + 12] = _mm512_shuffle_i32x4(v[i + 8], v[i + 12], 0xdd);
  }
#pragma GCC unroll 4
  for (int i = 0; i < 4; ++i) {
    v[i] = _mm512_shuffle_i32x4(t[i], t[i + 8], 0x88);
    v[i + 8] = _mm512_shuffle_i32x4(t[i], t[i + 8], 0xdd);
    v[i + 4] = _mm512_shuffle_i32x4(t[i + 4], t[i + 12], 0x88);
    v[i + 12] = _mm512_shuffle_i32x4(t[i + 4], t[i + 12], 0xdd);
  }
}

HWY_INLINE void store_tile(const __m512i (&rows)[16], std::byte* to) {
#pragma GCC unroll 16
  for (int i = 0; i < 16; ++i) _mm512_store_si512(to + 64 * i, rows[i]);
}

template <class T>
void pack_left_typed(const Matrix<T>& a, std::byte* to) {
  const std::int64_t steps = ceil_div(a.cols, kDepth);
  for (std::int64_t i = 0; i < a.rows; ++i) {
    std::byte* row = to + i / kTile * steps * kTileBytes + i % kTile * 64;
    for (std::int64_t k = 0; k < a.cols; k += kDepth, row += kTileBytes)
      _mm512_store_si512(row, line(a.row(i) + k, a.cols - k));
  }
}

template <class T>
void pack_left_transposed_typed(const Matrix<T>& a, std::byte* to) {
  const std::int64_t steps = ceil_div(a.rows, kDepth);
  for (std::int64_t step = 0; step < steps; ++step)
    for (std::int64_t i = 0; i < a.cols; i += kTile) {
      const __mmask16 mask = first_lanes(a.cols - i);
      __m512i tile[16];
#pragma GCC unroll 16
      for (int p = 0; p < 16; ++p) tile[p] = pairs_of_rows(a, step * kDepth + 2 * p, i, mask);
      transpose(tile);
      store_tile(tile, to + (i / kTile * steps + step) * kTileBytes);
    }
}

// Asks for elements [j, j + 32) of row i to arrive in L2. The row may lie beyond the end of b:
// there the next expert's weights begin. Between other work: a burst of requests would wait for
// itself.
template <class T>
HWY_INLINE void fetch(const Matrix<T>& b, std::int64_t i, std::int64_t j) {
  const auto first = reinterpret_cast<std::uintptr_t>(b.data);
  const auto offset = static_cast<std::uintptr_t>(i * b.ld + j) * sizeof(T);
  for (std::uintptr_t line = 0; line < kDepth * sizeof(T); line += 64)
    _mm_prefetch(reinterpret_cast<const char*>(first + offset + line), _MM_HINT_T1);
}

template <class T>
void pack_right_typed(const Matrix<T>& b, std::byte* to) {
  const std::int64_t steps = ceil_div(b.rows, kDepth), columns = round_up(b.cols, 2 * kTile);
  for (std::int64_t step = 0; step < steps; ++step) {
    for (std::int64_t j = 0; j < columns; j += 2 * kTile) {
      std::byte* row = to + (j / (2 * kTile) * steps + step) * 2 * kTileBytes;
      const __mmask16 left = first_lanes(b.cols - j), right = first_lanes(b.cols - j - kTile);
      for (std::int64_t k = step * kDepth; k < (step + 1) * kDepth; k += 2, row += 64) {
        fetch(b, k + kDepth, j);
        fetch(b, k + kDepth + 1, j);
        _mm512_store_si512(row, pairs_of_rows(b, k, j, left));
        _mm512_store_si512(row + kTileBytes, pairs_of_rows(b, k, j + kTile, right));
      }
    }
  }
}

template <class T>
void pack_right_transposed_typed(const Matrix<T>& b, std::byte* to) {
  const std::int64_t steps = ceil_div(b.cols, kDepth), columns = round_up(b.rows, 2 * kTile);
  for (std::int64_t j = 0; j < columns; j += kTile) {
    std::byte* tiles = to + (j / (2 * kTile) * steps * 2 + j / kTile % 2) * kTileBytes;
    for (std::int64_t k = 0; k < b.cols; k += kDepth, tiles += 2 * kTileBytes) {
      __m512i tile[16];
#pragma GCC unroll 16
      for (int i = 0; i < 16; ++i) {
        fetch(b, j + kTile + i, k);
        tile[i] = j + i < b.rows ? line(b.row(j + i) + k, b.cols - k) : _mm512_setzero_si512();
      }
      transpose(tile);
      store_tile(tile, tiles);
    }
  }
}

}  // namespace

void pack_left(const View& a, std::byte* to) {
  typed(a.dtype, [&]<class T>() { pack_left_typed<T>(a, to); });
}
void pack_left_transposed(const View& a, std::byte* to) {
  typed(a.dtype, [&]<class T>() { pack_left_transposed_typed<T>(a, to); });
}
void pack_right(const View& b, std::byte* to) {
  typed(b.dtype, [&]<class T>() { pack_right_typed<T>(b, to); });
}
void pack_right_transposed(const View& b, std::byte* to) {
  typed(b.dtype, [&]<class T>() { pack_right_transposed_typed<T>(b, to); });
}

}  // namespace moebius::cpu::amx
HWY_POP_ATTRIBUTES
HWY_DIAGNOSTICS(pop)
