// Packs factors of a product into panels of lanes (README.md says what these are). Both precisions
// share this code, because a lane has four bytes in both. A panel is [depth][width] lanes, depth
// along the summed dimension; the width of the last panel is rounded up to 16.
// Included once per instruction level: see foreach_level.h.
#if defined(MOEBIUS_CPU_PACK_INL_H_) != defined(MOEBIUS_LEVEL_TOGGLE)
#ifdef MOEBIUS_CPU_PACK_INL_H_
#undef MOEBIUS_CPU_PACK_INL_H_
#else
#define MOEBIUS_CPU_PACK_INL_H_
#endif

#include "model/backends/cpu/gemm.h"
#include "model/backends/cpu/simd-inl.h"

HWY_BEFORE_NAMESPACE();
namespace moebius::cpu::N_LEVEL {

constexpr std::int64_t kRounding = 16;  // columns of a panel

// The rows of a matrix lie far apart in memory: more than the hardware looks ahead.
constexpr std::int64_t kAhead = 16;
template <class T>
HWY_INLINE void fetch_row(const Matrix<T>& from, std::int64_t k) {
  if (k >= from.rows) return;
  const auto* row = reinterpret_cast<const char*>(from.row(k));
  for (std::int64_t i = 0; i < from.cols * std::int64_t{sizeof(T)}; i += 64)
    __builtin_prefetch(row + i);
}

// [count, cols] -> lanes, where rows are the summed dimension. An odd last row meets zeros.
template <class T>
void pack_rows(const Matrix<T>& from, Dtype operand, float* to) {
  const std::int64_t stride = round_up(from.cols, kRounding);
  if (operand == Dtype::F32) {
    for (std::int64_t k = 0; k < from.rows; ++k, to += stride) {
      fetch_row(from, k + kAhead);
      each(from.cols, [&](auto part, std::int64_t j)
                          HWY_ATTR { part.store(part.load(from.row(k) + j), to + j); });
    }
    return;
  }
  for (std::int64_t k = 0; k < from.rows; k += 2, to += stride) {
    fetch_row(from, k + kAhead);
    fetch_row(from, k + 1 + kAhead);
    const bool whole = k + 1 < from.rows;
    const T *low = from.row(k), *high = from.row(whole ? k + 1 : k);
    each(from.cols, [&](auto part, std::int64_t j) HWY_ATTR {
      const auto second = whole ? part.half(high + j) : hn::Zero(kBits);
      const auto pair = hn::Or(part.half(low + j), hn::ShiftLeft<16>(second));
      part.store(hn::BitCast(kTag, pair), to + j);
    });
  }
}

// A row of `count` elements -> lanes along it.
template <class T>
void pack_line(const T* from, std::int64_t count, Dtype operand, float* to) {
  if (operand == Dtype::F32)
    return each(count, [&](auto part, std::int64_t i)
                           HWY_ATTR { part.store(part.load(from + i), to + i); });
  auto* const halves = reinterpret_cast<Bf16*>(to);
  if (count % 2 != 0) halves[count] = Bf16{};
  each(count,
       [&](auto part, std::int64_t i) HWY_ATTR { part.store(part.load(from + i), halves + i); });
}

// [4 rows, 4 lanes] -> [4 lanes, 4 rows]
HWY_INLINE void transpose_square(const float* from, std::int64_t ld, float* to,
                                 std::int64_t to_ld) {
#if HWY_TARGET == HWY_SCALAR
  for (int i = 0; i < 4; ++i)
    for (int j = 0; j < 4; ++j) to[j * to_ld + i] = from[i * ld + j];
#else
  const hn::CappedTag<float, 4> four;
  const hn::RepartitionToWide<decltype(four)> two;
  const auto a = hn::LoadU(four, from), b = hn::LoadU(four, from + ld);
  const auto c = hn::LoadU(four, from + 2 * ld), d = hn::LoadU(four, from + 3 * ld);
  const auto ab_low = hn::BitCast(two, hn::InterleaveLower(four, a, b));
  const auto ab_high = hn::BitCast(two, hn::InterleaveUpper(four, a, b));
  const auto cd_low = hn::BitCast(two, hn::InterleaveLower(four, c, d));
  const auto cd_high = hn::BitCast(two, hn::InterleaveUpper(four, c, d));
  hn::StoreU(hn::BitCast(four, hn::InterleaveLower(two, ab_low, cd_low)), four, to);
  hn::StoreU(hn::BitCast(four, hn::InterleaveUpper(two, ab_low, cd_low)), four, to + to_ld);
  hn::StoreU(hn::BitCast(four, hn::InterleaveLower(two, ab_high, cd_high)), four, to + 2 * to_ld);
  hn::StoreU(hn::BitCast(four, hn::InterleaveUpper(two, ab_high, cd_high)), four, to + 3 * to_ld);
#endif
}

// [cols, count] -> lanes, where columns are the summed dimension: sixteen rows at a time become
// lanes, a few cache lines of each, and are then transposed.
template <class T>
void pack_columns(const Matrix<T>& from, Dtype operand, float* to) {
  constexpr std::int64_t kBlock = 64, kRow = kBlock + 16, kHeight = 16;
  const std::int64_t stride = round_up(from.rows, kRounding);
  const std::int64_t elements = operand == Dtype::BF16 ? 2 * kBlock : kBlock;
  HWY_ALIGN float rows[kHeight * kRow] = {};
  for (std::int64_t j = 0; j < from.rows; j += kHeight)
    for (std::int64_t k = 0; k < from.cols; k += elements) {
      const std::int64_t count = std::min(elements, from.cols - k);
      for (std::int64_t i = 0; i < std::min(kHeight, from.rows - j); ++i) {
        const T* row = from.row(j + i) + k;
        for (std::int64_t next = elements; next < 2 * elements;
             next += 64 / std::int64_t{sizeof(T)})
          __builtin_prefetch(row + next);
        pack_line(row, count, operand, rows + i * kRow);
      }
      float* const first = to + lanes_of(operand, k) * stride + j;
      const std::int64_t lanes = lanes_of(operand, count);
      std::int64_t lane = 0;
      for (; lane + 4 <= lanes; lane += 4)
        for (std::int64_t i = 0; i < kHeight; i += 4)
          transpose_square(rows + i * kRow + lane, kRow, first + lane * stride + i, stride);
      for (; lane < lanes; ++lane)
        for (std::int64_t i = 0; i < kHeight; ++i) first[lane * stride + i] = rows[i * kRow + lane];
    }
}

// Panels of `width` of rows or columns [begin, end) of the dimension that is not summed; summed:
// [first, last).
template <class T>
void pack_typed(const View& view, bool rows_summed, std::int64_t first, std::int64_t last,
                std::int64_t begin, std::int64_t end, std::int64_t width, Dtype operand,
                float* to) {
  const Matrix<T> all = view;
  for (std::int64_t j = begin; j < end; j += width) {
    const std::int64_t right = std::min(end, j + width);
    float* const panel = to + (j - begin) * lanes_of(operand, last - first);
    if (rows_summed)
      pack_rows(all.slice(first, last).columns(j, right), operand, panel);
    else
      pack_columns(all.slice(j, right).columns(first, last), operand, panel);
  }
}

}  // namespace moebius::cpu::N_LEVEL
HWY_AFTER_NAMESPACE();

#endif  // per-level guard
