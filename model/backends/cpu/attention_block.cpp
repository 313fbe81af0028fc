#include "model/backends/cpu/attention_block.h"

#include "model/backends/cpu/parallel.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "model/backends/cpu/attention_block.cpp"
#include "model/backends/cpu/foreach_level.h"  // includes this file once per instruction level

#include "model/backends/cpu/simd-inl.h"

HWY_BEFORE_NAMESPACE();
namespace moebius::cpu::N_LEVEL {

// 2^x; at most 2^-126 where that is below it, a NaN as in exp_of, except that AVX-512 keeps it.
// Relative error 1e-7, and 4e-6 for what is rounded to bf16. x = k + r, r in [0, 1).
template <class T>
HWY_INLINE Vec exp2_of(Vec x) {
#if HWY_TARGET == HWY_AVX3
  const Vec r{fraction(x.raw)};
#else
  x = at_least(-126, x);
  const Vec k = hn::Floor(x), r = hn::Sub(x, k);
#endif
  Vec p;
  if constexpr (sizeof(T) == 2)
    p = polynomial(r, {0.0136703095f, 0.0517449978f, 0.241604357f, 0.692972922f, 1.00000349f});
  else
    p = polynomial(r, {0.00189375406f, 0.00894959042f, 0.0558603371f, 0.240141818f, 0.69315449f,
                       0.999999898f});
#if HWY_TARGET == HWY_AVX3
  return Vec{times_power(p.raw, x.raw)};
#else
  const hn::RebindToSigned<Tag> integers;
  const auto exponent = hn::ShiftLeft<23>(hn::ConvertTo(integers, k));
  return hn::BitCast(kTag, hn::Add(hn::BitCast(integers, p), exponent));
#endif
}

// log2(x) to 1e-7, or of itself for large ones; x > 0 and normal. x = 2^k (1 + s), s in
// [-1/3, 1/3).
HWY_INLINE Vec log2_of(Vec x) {
  const hn::RebindToSigned<Tag> integers;
  const auto bits = hn::BitCast(integers, x);
  const auto k = hn::ShiftRight<23>(hn::Sub(bits, hn::Set(integers, 0x3f2aaaab)));
  const Vec s = hn::Sub(hn::BitCast(kTag, hn::Sub(bits, hn::ShiftLeft<23>(k))), all(1.0f));
  const Vec p = polynomial(s, {-0.216992352f, 0.24672696f, -0.237799677f, 0.285604463f,
                               -0.360733577f, 0.480964581f, -0.721347312f, 1.44269481f});
  const Vec log = hn::MulAdd(p, s, hn::ConvertTo(kTag, k));
  return hn::IfThenElse(hn::IsNaN(x), x, log);
}

// Rows of scores have room for whole vectors: only what is computed in the last one is masked,
// where an element beyond n becomes `otherwise`.
HWY_INLINE Vec load(const float* from) { return hn::LoadU(kTag, from); }
HWY_INLINE Vec up_to(std::int64_t n, std::int64_t j, Vec v, float otherwise) {
  return j + kLanes <= n ? v : Tail{n - j}.keep(v, otherwise);
}

// Of n numbers; two maxima at a time, because each waits for the one before.
HWY_INLINE float largest(const float* x, std::int64_t n) {
  const std::int64_t last = (n - 1) / kLanes * kLanes;
  Vec a = Tail{n - last}.keep(load(x + last), kLowest), b = a;
  std::int64_t j = 0;
  for (; j + 2 * kLanes <= last; j += 2 * kLanes) {
    a = hn::Max(a, load(x + j));
    b = hn::Max(b, load(x + j + kLanes));
  }
  if (j < last) a = hn::Max(a, load(x + j));
  return max_of(hn::Max(a, b));
}

// z = scale z + bias in powers of 2; -> its maximum.
HWY_INLINE float add_bias(const float* bias, float scale, float* z, std::int64_t n) {
  Vec top = all(kLowest);
  const Vec factor = all(scale);
  for (std::int64_t j = 0; j < n; j += kLanes) {
    const Vec sum = hn::MulAdd(load(z + j), factor, load(bias + j));
    top = hn::Max(top, up_to(n, j, sum, kLowest));
    Whole().store(sum, z + j);
  }
  return max_of(top);
}

// Zeros, a vector at a time, from `to` up to `end` at least.
template <class T>
HWY_INLINE void clear(T* to, const T* end) {
  for (; to < end; to += kLanes) Whole().store(zero(), to);
}

// p_ij = exp(scale z_ij + bias - top_i), zero where query i does not see key j; its sums.
template <class T>
void exponentials(const Forward& f, float* tops, float* sums) {
  for (std::int64_t i = 0; i < f.z.rows; ++i) {
    float* const row = f.z.row(i);
    T* const p = reinterpret_cast<T*>(row);  // narrower: never ahead of what is read
    const std::int64_t seen = f.first + i + 1;
    const float scale = f.bias == nullptr ? f.scale : 1;
    tops[i] =
        f.bias == nullptr ? largest(row, seen) * scale : add_bias(f.bias - i, f.scale, row, seen);
    const Vec factor = all(scale), top = all(tops[i]);
    Vec sum = zero();
    for (std::int64_t j = 0; j < seen; j += kLanes) {
      const Vec e = up_to(seen, j, exp2_of<T>(hn::MulSub(load(row + j), factor, top)), 0);
      sum = hn::Add(sum, e);
      Whole().store(e, p + j);
    }
    sums[i] = sum_of(sum);
    clear(p + round_up(seen, kLanes), p + f.padded);
  }
}

void softmax_block(const Forward& f, const Floats& lse, float* sums) {
  HWY_ALIGN float tops[kQueries];
  typed(f.operand, [&]<class T>() { exponentials<T>(f, tops, sums); });
  each(f.z.rows, [&](auto part, std::int64_t i) HWY_ATTR {
    const Vec log = log2_of(part.keep(part.load(sums + i), 1));
    part.store(hn::Mul(hn::Add(part.load(tops + i), log), all(1 / kLog2E)), tops + i);
  });
  for (std::int64_t i = 0; i < f.z.rows; ++i) *lse.row(i) = tops[i];
}

// to_i = factor(i) * from_i
template <class RowFactor>
void scale_rows(const Floats& from, const View& to, const RowFactor& factor) {
  typed(to.dtype, [&]<class T>() {
    for (std::int64_t i = 0; i < from.rows; ++i) {
      const Vec f = all(factor(i));
      const float* const row = from.row(i);
      T* const target = Matrix<T>(to).row(i);
      each(from.cols, [&](auto part, std::int64_t j)
                          HWY_ATTR { part.store(hn::Mul(part.load(row + j), f), target + j); });
    }
  });
}
void divide_rows(const Floats& from, const float* sums, const View& to) {
  scale_rows(from, to, [&](std::int64_t i) { return 1 / sums[i]; });
}
void store_scaled(const Floats& from, float factor, const View& to) {
  scale_rows(from, to, [&](std::int64_t) { return factor; });
}

template <class T, bool kBiased>
void softmax_backward_typed(const Backward& b) {
  const Vec exponent = all(b.scale);
  for (std::int64_t i = 0; i < b.z.rows; ++i) {
    float *z = b.z.row(i), *dp = b.dp.row(i);
    T *p = reinterpret_cast<T*>(z), *dz = reinterpret_cast<T*>(dp);
    const std::int64_t begin = i / kLanes * kLanes;  // the vector where key i is seen first
    const std::int64_t end = b.z.cols;
    for (std::int64_t j = begin; j < end; j += kLanes) {
      Vec norm = load(b.lse + j);
      if constexpr (kBiased) norm = hn::Sub(norm, load(b.bias + j - i));
      Vec e = exp2_of<T>(hn::MulSub(load(z + j), exponent, norm));
      Vec slope = hn::Mul(e, hn::Sub(load(dp + j), load(b.delta + j)));
      if (j < i) {  // these do not see the key
        const auto unseen = hn::FirstN(kTag, static_cast<std::size_t>(i - j));
        e = hn::IfThenZeroElse(unseen, e);
        slope = hn::IfThenZeroElse(unseen, slope);
      }
      e = up_to(end, j, e, 0);
      slope = up_to(end, j, slope, 0);
      Whole().store(e, p + j);
      Whole().store(slope, dz + j);
      if constexpr (kBiased) {
        float* const sum = b.dbias + j - i;
        Whole().store(hn::Add(load(sum), slope), sum);
      }
    }
    for (T* const m : {p, dz}) {
      clear(m, m + begin);
      clear(m + begin + round_up(end - begin, kLanes), m + b.padded);
    }
  }
}
void softmax_block_backward(const Backward& b) {
  typed(b.operand, [&]<class T>() {
    if (b.bias == nullptr)
      softmax_backward_typed<T, false>(b);
    else
      softmax_backward_typed<T, true>(b);
  });
}

void dot_rows(const View& a, const View& b, float* to) {
  typed(a.dtype, [&]<class T>() {
    for (std::int64_t i = 0; i < a.rows; ++i)
      to[i] = dot(Matrix<T>(a).row(i), Matrix<T>(b).row(i), a.cols);
  });
}

}  // namespace moebius::cpu::N_LEVEL
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace moebius::cpu {

MOEBIUS_EXPORT(softmax_block);
MOEBIUS_EXPORT(divide_rows);
MOEBIUS_EXPORT(softmax_block_backward);
MOEBIUS_EXPORT(dot_rows);
MOEBIUS_EXPORT(store_scaled);

void softmax_block(const Forward& f, const Floats& lse, float* sums) {
  MOEBIUS_DISPATCH(softmax_block)(f, lse, sums);
}
void divide_rows(const Floats& from, const float* sums, const View& to) {
  MOEBIUS_DISPATCH(divide_rows)(from, sums, to);
}
void softmax_block_backward(const Backward& b) { MOEBIUS_DISPATCH(softmax_block_backward)(b); }
void dot_rows(const View& a, const View& b, float* to) { MOEBIUS_DISPATCH(dot_rows)(a, b, to); }
void store_scaled(const Floats& from, float factor, const View& to) {
  MOEBIUS_DISPATCH(store_scaled)(from, factor, to);
}

}  // namespace moebius::cpu
#endif  // HWY_ONCE
