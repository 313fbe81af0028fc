#include "model/backends/cpu/gemm.h"

#include <algorithm>

#include "model/backends/cpu/ahead.h"
#include "model/backends/cpu/amx.h"
#include "model/backends/cpu/lanes.h"
#include "model/backends/cpu/matrix.h"
#include "model/backends/cpu/processor.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "model/backends/cpu/gemm.cpp"
#include "model/backends/cpu/foreach_level.h"  // includes this file once per instruction level

#include "model/backends/cpu/multiply-inl.h"
#include "model/backends/cpu/pack-inl.h"

HWY_BEFORE_NAMESPACE();
namespace moebius::cpu::N_LEVEL {

// Registers: kHeight x kWidth sums, a row of b and one broadcast: 29 of 32 with AVX-512, 15 of 16
// with AVX2. Narrow products take more rows, or the latency of a sum would show.
constexpr int kWidth = HWY_TARGET == HWY_AVX3 ? 4 : 2;
constexpr int height_of(int width) { return 2 * width <= kWidth ? 12 : 6; }
constexpr int height_below(int height) { return height % 3 == 0 ? height / 3 * 2 : height / 2; }
static_assert(kPanel % (kWidth * kLanes) == 0 && kLeftPanel % 12 == 0);

// Where sums go.
struct Target {
  View c;
  float scale;
  bool accumulate;
  bool far;  // too large for a near cache

  // Asks for the memory of a row early: it arrives while sums are made. Small targets are near.
  HWY_INLINE void fetch(std::int64_t i, std::int64_t j, std::int64_t count) const {
    if (!far) return;
    const std::int64_t size = size_of(c.dtype);
    const std::byte* const first = c.data + (i * c.ld + j) * size;
    for (std::int64_t at = 0; at < count * size; at += 64) __builtin_prefetch(first + at, 1);
  }

  // Sums of rows from i, columns from j on.
  template <class T, int Height, int Width>
  HWY_INLINE void put(const Vec (&sum)[Height][Width], std::int64_t i, std::int64_t j) const {
    T* const first = reinterpret_cast<T*>(c.data) + i * c.ld + j;
    const Vec factor = all(scale);
    const auto put_one = [&](auto part, Vec s, T* to) HWY_ATTR {
      part.store(accumulate ? hn::MulAdd(s, factor, part.load(to)) : hn::Mul(s, factor), to);
    };
    const std::int64_t rest = c.cols - j - (Width - 1) * kLanes;  // columns of the last vector
#pragma GCC unroll 12
    for (int y = 0; y < Height; ++y) {
      T* const to = first + y * c.ld;
#pragma GCC unroll 4
      for (int x = 0; x + 1 < Width; ++x) put_one(Whole{}, sum[y][x], to + x * kLanes);
      if (rest >= kLanes)
        put_one(Whole{}, sum[y][Width - 1], to + (Width - 1) * kLanes);
      else
        put_one(Tail{rest}, sum[y][Width - 1], to + (Width - 1) * kLanes);
    }
  }
};

// Lanes of some rows of the left factor.
struct Rows {
  const float* first;
  std::int64_t row, lane;  // from one row, one lane to the next
};

// Rows [i, i + Height) and columns [j, j + Width vectors) of c, from one strip of a panel of b
// whose rows are `stride` lanes apart. Meanwhile `soon` is asked for, if `Asks`.
template <class Multiply, int Height, int Width, bool Asks>
void multiply(const Rows& a, const float* b, std::int64_t stride, std::int64_t depth,
              const Target& target, std::int64_t i, std::int64_t j, Ahead& soon) {
  Vec sum[Height][Width];
#pragma GCC unroll 12
  for (int y = 0; y < Height; ++y)
#pragma GCC unroll 4
    for (int x = 0; x < Width; ++x) sum[y][x] = zero();
  for (int y = 0; y < Height; ++y) target.fetch(i + y, j, Width * kLanes);
  const float* left = a.first;
  const std::int64_t row = a.row, lane = a.lane;
  Ahead ahead = Asks ? soon : Ahead();
  for (std::int64_t k = 0; k < depth; ++k, left += lane, b += stride) {
    if (Asks && !ahead.done()) ahead.ask();
    Vec right[Width];
#pragma GCC unroll 4
    for (int x = 0; x < Width; ++x) right[x] = hn::LoadU(kTag, b + x * kLanes);
#pragma GCC unroll 12
    for (int y = 0; y < Height; ++y) {
      const Vec factor = all(left[y * row]);
#pragma GCC unroll 4
      for (int x = 0; x < Width; ++x) sum[y][x] = Multiply::add(factor, right[x], sum[y][x]);
    }
  }
  if constexpr (Asks) soon = ahead;
  if (target.c.dtype == Dtype::F32)
    target.put<float>(sum, i, j);
  else
    target.put<Bf16>(sum, i, j);
}

// The same for all rows [i, c.rows), tallest blocks first: what they leave takes few blocks, one
// where the number of rows is a power of two, and few kernels need to be compiled.
template <class Multiply, int Width, int Height = height_of(Width)>
void multiply_rows(const Left& a, const float* b, std::int64_t stride, std::int64_t depth,
                   const Target& target, std::int64_t i, std::int64_t j, Ahead& soon) {
  constexpr bool kMost = Width == kWidth && Height == height_of(Width);
  const std::int64_t rows = target.c.rows;
  for (; i + Height <= rows; i += Height) {
    const std::int64_t first = i / kLeftPanel * kLeftPanel;
    const std::int64_t width = round_up(std::min(kLeftPanel, rows - first), kRounding);
    const Rows left = a.row > 0 ? Rows{a.first + i * a.row, a.row, 1}
                                : Rows{a.first + first * depth + (i - first), 1, width};
    if (kMost && !soon.done())
      multiply<Multiply, Height, Width, kMost>(left, b, stride, depth, target, i, j, soon);
    else
      multiply<Multiply, Height, Width, false>(left, b, stride, depth, target, i, j, soon);
  }
  if constexpr (Height > 1)
    if (i < rows)
      multiply_rows<Multiply, Width, height_below(Height)>(a, b, stride, depth, target, i, j, soon);
}

// Columns [first, first + kPanel) of c: all rows.
template <class Multiply>
void multiply_panel(const Left& a, const Right& right, std::int64_t depth, const Target& target,
                    std::int64_t first, Ahead& soon) {
  const std::int64_t width = std::min(kPanel, target.c.cols - first);
  const std::int64_t stride = round_up(std::min(kPanel, right.cols - first), kRounding);
  const float* const panel = right.panels + first * right.depth + right.lane * stride;
  for (std::int64_t j = 0; j < width; j += kWidth * kLanes) {
    const float* const b = panel + j;
    switch (std::min<std::int64_t>(kWidth, ceil_div(width - j, kLanes))) {
      case 1:
        multiply_rows<Multiply, 1>(a, b, stride, depth, target, 0, first + j, soon);
        break;
      case 2:
        multiply_rows<Multiply, 2>(a, b, stride, depth, target, 0, first + j, soon);
        break;
      case 3:
        multiply_rows<Multiply, std::min(3, kWidth)>(a, b, stride, depth, target, 0, first + j,
                                                     soon);
        break;
      default:
        multiply_rows<Multiply, kWidth>(a, b, stride, depth, target, 0, first + j, soon);
    }
  }
}

void pack_panels(const View& view, bool rows_summed, std::int64_t first, std::int64_t last,
                 std::int64_t begin, std::int64_t end, std::int64_t width, Dtype operand,
                 float* to) {
  if (view.dtype == Dtype::F32)
    pack_typed<float>(view, rows_summed, first, last, begin, end, width, operand, to);
  else
    pack_typed<Bf16>(view, rows_summed, first, last, begin, end, width, operand, to);
}

// Rows as rows of lanes; -> lanes from one to the next.
std::int64_t pack_lines(const View& view, Dtype operand, float* to) {
  const std::int64_t stride = std::max<std::int64_t>(1, lanes_of(operand, view.cols));
  for (std::int64_t i = 0; i < view.rows; ++i, to += stride)
    if (view.dtype == Dtype::F32)
      pack_line(Floats(view).row(i), view.cols, operand, to);
    else
      pack_line(Matrix<Bf16>(view).row(i), view.cols, operand, to);
  return stride;
}

// All of c.
void multiply_panels(const Left& a, const Right& right, std::int64_t depth, const View& c,
                     const GemmOptions& options, Ahead& soon) {
  const Target target = {c, options.scale, options.accumulate, is_large(c)};
  const auto panel =
      options.operand == Dtype::F32 ? multiply_panel<MultiplyF32> : multiply_panel<MultiplyBf16>;
  for (std::int64_t j = 0; j < c.cols; j += kPanel) panel(a, right, depth, target, j, soon);
}

}  // namespace moebius::cpu::N_LEVEL
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace moebius::cpu {
namespace {

MOEBIUS_EXPORT(pack_panels);
MOEBIUS_EXPORT(pack_lines);
MOEBIUS_EXPORT(multiply_panels);

constexpr std::int64_t kDepth =
    1024;                            // lanes of a block of the summed dimension: a panel of 256 KiB
constexpr std::int64_t kRows = 960;  // rows of a packed at a time

// Elements of the summed dimension in a block. Sums that end in bf16 must be complete.
std::int64_t block_depth(Dtype operand, Dtype c, std::int64_t k) {
  return c == Dtype::BF16 ? k : kDepth * (operand == Dtype::BF16 ? 2 : 1);
}

// Whether rows of `a`, elements [first, last), are lanes as they lie.
bool lies_in_lanes(const View& a, Dtype operand, std::int64_t first, std::int64_t last) {
  if (a.dtype != operand) return false;
  if (operand == Dtype::F32) return true;
  const bool aligned = reinterpret_cast<std::uintptr_t>(a.data) % sizeof(float) == 0;
  return aligned && a.ld % 2 == 0 && first % 2 == 0 && last % 2 == 0;
}

// Rows [top, bottom) of a factor, elements [first, last) of the summed dimension.
struct Part {
  std::int64_t top, bottom, first, last;
};

// The same as lanes, copied.
Left copy_left(const Factor& a, const Part& p, Dtype operand, float* to) {
  if (!a.transposed) {
    const View part = a.view.row_range(p.top, p.bottom - p.top).columns(p.first, p.last - p.first);
    return {to, MOEBIUS_DISPATCH(pack_lines)(part, operand, to)};
  }
  const auto panels = MOEBIUS_DISPATCH(pack_panels);
  panels(a.view, true, p.first, p.last, p.top, p.bottom, kLeftPanel, operand, to);
  return {to, 0};
}
Left left_as_is(const View& a, std::int64_t first, Dtype operand) {
  return {reinterpret_cast<const float*>(a.data + first * size_of(operand)),
          lanes_of(operand, a.ld)};
}

// Far: not in a near cache. Weights (f32) never are; other factors are where they are small.
bool needs_prefetch(const View& v) { return v.dtype == Dtype::F32 || is_large(v); }

// What to ask for before a product with b begins: its first panel, or some.
Ahead beginning_of(const Factor& b, std::int64_t block) {
  if (b.view.empty()) return {};
  constexpr std::int64_t kElements = 1 << 16;
  const std::int64_t depth = std::min(b.rows(), block);
  const std::int64_t cols = std::max(kPanel, kElements / depth);
  return Ahead(factor_columns(factor_rows(b, 0, depth), 0, std::min(b.cols(), cols)).view);
}

// What makes products of `operand` instead of the kernels here; null where they do.
const amx::Engine* engine_of(Dtype operand) {
  return operand == Dtype::BF16 ? amx_engine() : nullptr;
}

}  // namespace

HeldTiles::HeldTiles(Dtype operand) : engine_(engine_of(operand)) {
  if (engine_ != nullptr) engine_->hold();
}
HeldTiles::~HeldTiles() {
  if (engine_ != nullptr) engine_->let_go();
}

std::int64_t gemm_scratch(std::int64_t m, std::int64_t n, std::int64_t k, Dtype operand, Dtype c) {
  if (const auto* engine = engine_of(operand)) return engine->gemm_scratch(m, n, k, c);
  const std::int64_t depth = lanes_of(operand, std::min(k, block_depth(operand, c, k)));
  return depth * (round_up(std::min(m, kRows), 16) + round_up(std::min(n, kPanel), 16));
}

void gemm(const Factor& a, const Factor& b, const View& c, const GemmOptions& options,
          Scratch& scratch) {
  const std::int64_t m = a.rows(), n = b.cols(), k = a.cols();
  MOEBIUS_CHECK(k == b.rows() && m == c.rows && n == c.cols, "[gemm] [{}, {}] [{}, {}] -> [{}, {}]",
                m, k, b.rows(), n, c.rows, c.cols);
  MOEBIUS_CHECK(c.dtype == Dtype::F32 || options.operand == Dtype::BF16, "[gemm] f32 into {}",
                dtype_text(c.dtype));
  if (c.empty()) return;
  const Dtype operand = options.operand;
  if (const auto* engine = engine_of(operand)) return engine->gemm(a, b, c, options, scratch);
  const auto panels = MOEBIUS_DISPATCH(pack_panels);
  const auto multiply = MOEBIUS_DISPATCH(multiply_panels);
  float* const right = scratch.floats(gemm_scratch(m, n, k, operand, c.dtype));
  const std::int64_t block = std::max<std::int64_t>(1, block_depth(operand, c.dtype, k));
  Ahead next = beginning_of(options.next, block);
  for (std::int64_t first = 0; first < std::max<std::int64_t>(1, k); first += block) {
    const std::int64_t last = std::min(k, first + block), depth = lanes_of(operand, last - first);
    const bool as_is = !a.transposed && lies_in_lanes(a.view, operand, first, last);
    float* const copy = right + depth * round_up(std::min(n, kPanel), 16);
    for (std::int64_t top = 0; top < m; top += as_is ? m : kRows) {
      const std::int64_t bottom = as_is ? m : std::min(m, top + kRows);
      const Left left = as_is ? left_as_is(a.view, first, operand)
                              : copy_left(a, {top, bottom, first, last}, operand, copy);
      for (std::int64_t j = 0; j < n; j += kPanel) {
        const std::int64_t end = std::min(n, j + kPanel);
        panels(b.view, !b.transposed, first, last, j, end, kPanel, operand, right);
        Ahead own;
        if (end < n && needs_prefetch(b.view))
          own = Ahead(
              factor_columns(factor_rows(b, first, last), end, std::min(n, end + kPanel)).view);
        GemmOptions part = options;
        part.accumulate = options.accumulate || first > 0;
        multiply(left, {right, 0, depth, end - j}, depth,
                 c.row_range(top, bottom - top).columns(j, end - j), part, own.done() ? next : own);
      }
    }
  }
}

std::int64_t packed_floats(std::int64_t k, std::int64_t n, Dtype operand) {
  if (const auto* engine = engine_of(operand)) return engine->packed_floats(k, n);
  return round_up(lanes_of(operand, k) * round_up(n, 16), 16);
}

Packed pack(const Factor& b, Dtype operand, float* memory) {
  const auto panels = MOEBIUS_DISPATCH(pack_panels);
  if (const auto* engine = engine_of(operand))
    engine->pack(b, memory);
  else
    panels(b.view, !b.transposed, 0, b.rows(), 0, b.cols(), kPanel, operand, memory);
  return {memory, b.rows(), b.cols(), operand};
}

std::int64_t packed_gemm_scratch(std::int64_t m, std::int64_t n, std::int64_t k, Dtype operand) {
  if (const auto* engine = engine_of(operand)) return engine->packed_gemm_scratch(m, n, k);
  return lanes_of(operand, k) * round_up(std::min(m, kRows), 16);
}

void gemm(const Factor& a, const Packed& b, const View& c, const GemmOptions& options,
          Scratch& scratch) {
  const Dtype operand = options.operand;
  const std::int64_t m = a.rows(), rows = b.rows - b.row, k = std::min(a.cols(), rows);
  MOEBIUS_CHECK(a.cols() == rows || (a.cols() % 32 == 0 && a.cols() < rows + 32),
                "[gemm] {} of {} packed rows", a.cols(), rows);
  MOEBIUS_CHECK(m == c.rows && c.cols <= b.cols - b.col && operand == b.operand,
                "[gemm] [{}, {}] x [{}, {}] packed -> [{}, {}]", m, a.cols(), rows, b.cols - b.col,
                c.rows, c.cols);
  if (c.empty()) return;
  if (const auto* engine = engine_of(operand))
    return engine->packed_gemm(a, b, c, options, scratch);
  const Right right = {b.memory + b.col * lanes_of(operand, b.rows), lanes_of(operand, b.row),
                       lanes_of(operand, b.rows), b.cols - b.col};
  const bool as_is = !a.transposed && lies_in_lanes(a.view, operand, 0, a.cols());
  float* const copy = as_is ? nullptr : scratch.floats(packed_gemm_scratch(m, c.cols, k, operand));
  const auto multiply = MOEBIUS_DISPATCH(multiply_panels);
  Ahead nothing;
  for (std::int64_t top = 0; top < m; top += as_is ? m : kRows) {
    const std::int64_t bottom = as_is ? m : std::min(m, top + kRows);
    const Left left =
        as_is ? left_as_is(a.view, 0, operand) : copy_left(a, {top, bottom, 0, k}, operand, copy);
    multiply(left, right, lanes_of(operand, k), c.row_range(top, bottom - top), options, nothing);
  }
}

}  // namespace moebius::cpu
#endif  // HWY_ONCE
