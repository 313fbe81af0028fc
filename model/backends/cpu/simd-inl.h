// Vector building blocks of the kernels. Included once per instruction level: see foreach_level.h.
#if defined(MOEBIUS_CPU_SIMD_INL_H_) != defined(MOEBIUS_LEVEL_TOGGLE)
#ifdef MOEBIUS_CPU_SIMD_INL_H_
#undef MOEBIUS_CPU_SIMD_INL_H_
#else
#define MOEBIUS_CPU_SIMD_INL_H_
#endif

#include <cstdint>

#include "model/backends/cpu/matrix.h"

#if HWY_TARGET == HWY_AVX3
#include "model/backends/cpu/avx512-inl.h"
#endif

HWY_BEFORE_NAMESPACE();
namespace moebius::cpu::N_LEVEL {

namespace hn = hwy::HWY_NAMESPACE;
using Tag = hn::ScalableTag<float>;
using Vec = hn::Vec<Tag>;
constexpr Tag kTag;
constexpr auto kLanes = static_cast<std::int64_t>(hn::MaxLanes(Tag()));

// bf16 is the upper half of an f32; a lane of four bytes holds a pair, the first one low.
using Bits = hn::RebindToUnsigned<Tag>;
using HalfTag = hn::Rebind<std::uint16_t, Tag>;  // as many lanes of two bytes
constexpr Bits kBits;
constexpr HalfTag kHalves;
HWY_INLINE Vec low_half(Vec pair) {
  return hn::BitCast(kTag, hn::ShiftLeft<16>(hn::BitCast(kBits, pair)));
}
HWY_INLINE Vec high_half(Vec pair) {
  return hn::BitCast(kTag, hn::And(hn::BitCast(kBits, pair), hn::Set(kBits, 0xffff0000u)));
}
// The bits of bf16(v) in the lower half of each lane: nearest, ties to even; a NaN stays one.
HWY_INLINE auto rounded(Vec v) {
  const auto bits = hn::BitCast(kBits, v);
  const auto odd = hn::And(hn::ShiftRight<16>(bits), hn::Set(kBits, 1u));
  const auto near = hn::Add(hn::Add(bits, hn::Set(kBits, 0x7fffu)), odd);
  const auto quiet = hn::Or(bits, hn::Set(kBits, 0x400000u));
  return hn::ShiftRight<16>(hn::BitCast(
      kBits, hn::IfThenElse(hn::IsNaN(v), hn::BitCast(kTag, quiet), hn::BitCast(kTag, near))));
}
using HalfVec = hn::Vec<HalfTag>;
HWY_INLINE Vec from_bf16(HalfVec halves) {
  return hn::BitCast(kTag, hn::ShiftLeft<16>(hn::PromoteTo(kBits, halves)));
}
#ifdef MOEBIUS_AVX512_BF16
// One instruction instead of nine; denormals become zero.
HWY_INLINE HalfVec to_bf16(Vec v) { return HalfVec{nearest_bf16(v.raw)}; }
HWY_INLINE auto bf16_bits(Vec v) { return hn::PromoteTo(kBits, to_bf16(v)); }
#else
HWY_INLINE HalfVec to_bf16(Vec v) { return hn::TruncateTo(kHalves, rounded(v)); }
HWY_INLINE auto bf16_bits(Vec v) { return rounded(v); }
#endif
HWY_INLINE Vec load_bf16(const Bf16* from) {
  return from_bf16(hn::LoadU(kHalves, reinterpret_cast<const std::uint16_t*>(from)));
}

// One vector's worth of consecutive elements: all lanes, or the first few of them with zeros
// behind. Kernels take either as `auto part`, so an element meets the same instructions at any
// position. Elements in memory are f32 or bf16, in registers always f32.
struct Whole {
  HWY_INLINE Vec load(const float* from) const { return hn::LoadU(kTag, from); }
  HWY_INLINE void store(Vec v, float* to) const { hn::StoreU(v, kTag, to); }
  HWY_INLINE Vec load(const Bf16* from) const { return load_bf16(from); }
  HWY_INLINE void store(Vec v, Bf16* to) const { store(to_bf16(v), to); }
  HWY_INLINE void store(HalfVec v, Bf16* to) const {
    hn::StoreU(v, kHalves, reinterpret_cast<std::uint16_t*>(to));
  }
  // The same as the bits of a bf16 in each lane.
  HWY_INLINE auto half(const float* from) const { return bf16_bits(load(from)); }
  HWY_INLINE auto half(const Bf16* from) const {
    return hn::PromoteTo(kBits, hn::LoadU(kHalves, reinterpret_cast<const std::uint16_t*>(from)));
  }
  HWY_INLINE Vec keep(Vec v, float /*otherwise*/) const { return v; }
};
struct Tail {
  std::int64_t count;
  HWY_INLINE auto mask() const { return hn::FirstN(kTag, static_cast<std::size_t>(count)); }
  HWY_INLINE auto halves() const { return hn::FirstN(kHalves, static_cast<std::size_t>(count)); }
#if HWY_MEM_OPS_MIGHT_FAULT
  HWY_INLINE Vec load(const float* from) const {
    HWY_ALIGN float lanes[kLanes] = {};
    for (std::int64_t i = 0; i < count; ++i) lanes[i] = from[i];
    return hn::Load(kTag, lanes);
  }
  HWY_INLINE void store(Vec v, float* to) const {
    HWY_ALIGN float lanes[kLanes];
    hn::Store(v, kTag, lanes);
    for (std::int64_t i = 0; i < count; ++i) to[i] = lanes[i];
  }
  HWY_INLINE Vec load(const Bf16* from) const {
    Bf16 lanes[kLanes] = {};
    for (std::int64_t i = 0; i < count; ++i) lanes[i] = from[i];
    return load_bf16(lanes);
  }
  HWY_INLINE void store(HalfVec v, Bf16* to) const {
    Bf16 lanes[kLanes];
    Whole().store(v, lanes);
    for (std::int64_t i = 0; i < count; ++i) to[i] = lanes[i];
  }
#else
  HWY_INLINE Vec load(const float* from) const { return hn::MaskedLoad(mask(), kTag, from); }
  HWY_INLINE void store(Vec v, float* to) const { hn::BlendedStore(v, mask(), kTag, to); }
  HWY_INLINE Vec load(const Bf16* from) const {
    return from_bf16(
        hn::MaskedLoad(halves(), kHalves, reinterpret_cast<const std::uint16_t*>(from)));
  }
  HWY_INLINE void store(HalfVec v, Bf16* to) const {
    hn::BlendedStore(v, halves(), kHalves, reinterpret_cast<std::uint16_t*>(to));
  }
#endif
  HWY_INLINE void store(Vec v, Bf16* to) const { store(to_bf16(v), to); }
  HWY_INLINE auto half(const float* from) const { return bf16_bits(load(from)); }
  HWY_INLINE auto half(const Bf16* from) const {
    return hn::ShiftRight<16>(hn::BitCast(kBits, load(from)));
  }
  // v in the lanes that exist.
  HWY_INLINE Vec keep(Vec v, float otherwise) const {
    return hn::IfThenElse(mask(), v, hn::Set(kTag, otherwise));
  }
};

// visit(part, i) for every vector of n elements, i being its first.
template <class Visit>
HWY_INLINE void each(std::int64_t n, const Visit& visit) {
  std::int64_t i = 0;
  for (; i + kLanes <= n; i += kLanes) visit(Whole{}, i);
  if (i < n) visit(Tail{n - i}, i);
}

// visit(row, count) for every row of a [rows, cols] matrix, or once for all of it when the matrices
// are dense: short rows then need no tails.
template <class Visit>
HWY_INLINE void each_line(bool dense, std::int64_t rows, std::int64_t cols, const Visit& visit) {
  if (dense) return visit(0, rows * cols);
  for (std::int64_t i = 0; i < rows; ++i) visit(i, cols);
}

// y = x, rounded to its type.
template <class T>
void copy_rows(const Floats& x, const Matrix<T>& y) {
  each_line(x.dense() && y.dense(), y.rows, y.cols, [&](std::int64_t row, std::int64_t n) HWY_ATTR {
    each(n, [&](auto part, std::int64_t i)
                HWY_ATTR { part.store(part.load(x.row(row) + i), y.row(row) + i); });
  });
}

HWY_INLINE Vec all(float value) { return hn::Set(kTag, value); }
HWY_INLINE Vec zero() { return hn::Zero(kTag); }
HWY_INLINE float sum_of(Vec v) { return hn::GetLane(hn::SumOfLanes(kTag, v)); }
HWY_INLINE float max_of(Vec v) { return hn::GetLane(hn::MaxOfLanes(kTag, v)); }

// min(x, limit) and max(x, limit); a NaN stays one.
#if HWY_ARCH_X86
// Of a NaN and a number, an x86 processor takes the second operand.
HWY_INLINE Vec at_most(float limit, Vec x) { return hn::Min(all(limit), x); }
HWY_INLINE Vec at_least(float limit, Vec x) { return hn::Max(all(limit), x); }
#else
// Highway's Min and Max on arm64 take the number.
HWY_INLINE Vec at_most(float limit, Vec x) {
  return hn::IfThenElse(hn::Gt(x, all(limit)), all(limit), x);
}
HWY_INLINE Vec at_least(float limit, Vec x) {
  return hn::IfThenElse(hn::Lt(x, all(limit)), all(limit), x);
}
#endif

// p(x) by Horner, highest coefficient first. Unrolled: in a loop every coefficient is a load.
template <std::size_t N>
HWY_INLINE Vec polynomial(Vec x, const float (&coefficient)[N]) {
  Vec p = all(coefficient[0]);
#pragma GCC unroll 16
  for (std::size_t i = 1; i < N; ++i) p = hn::MulAdd(p, x, all(coefficient[i]));
  return p;
}

// Minimax polynomials of exp(r), |r| <= ln(2) / 2, highest power first; relative errors 2e-7 and,
// for what ends in bf16, 3e-6.
constexpr float kExpTerms[] = {1.38367969e-3f, 8.37480714e-3f, 0.0416682259f, 0.166664203f,
                               0.499999921f,   1.00000004f,    1.0f};
constexpr float kShortExpTerms[] = {0.0414586067f, 0.167909071f, 0.500043571f, 0.999963403f,
                                    0.999999285f};

// exp(x); zero below -87, x counts as 88 at most. A NaN stays one on arm64; on x86-64 one without a
// sign becomes a large number, because Highway makes the largest integer of it there.
// x = k ln 2 + r, and k goes to the exponent.
template <std::size_t Count>
HWY_INLINE Vec exp_of(Vec x, const float (&terms)[Count]) {
  const hn::RebindToSigned<Tag> integers;
  x = at_most(88, x);
  const auto k = hn::NearestInt(hn::Mul(x, all(1.44269504f)));
  const Vec whole = hn::ConvertTo(kTag, k);
  const Vec r =
      hn::NegMulAdd(whole, all(-2.12194440e-4f), hn::NegMulAdd(whole, all(0.693359375f), x));
  const Vec p = polynomial(r, terms);
  const Vec scaled = hn::BitCast(kTag, hn::Add(hn::BitCast(integers, p), hn::ShiftLeft<23>(k)));
  return hn::IfThenElse(hn::Lt(x, all(-87.0f)), zero(), scaled);
}
HWY_INLINE Vec exp_of(Vec x) { return exp_of(x, kExpTerms); }

// 1 / x to 3e-7 of itself for 1e-30 < |x| < 1e30: an estimate and Newton's method, a step of which
// doubles its digits. On x86-64 it takes a quarter of what a division takes.
constexpr int kReciprocalSteps = HWY_ARCH_X86 ? 1 : 2;  // estimates of 12 bits; NEON's has 8
HWY_INLINE Vec reciprocal(Vec x) {
  Vec y = hn::ApproximateReciprocal(x);
#pragma GCC unroll 2
  for (int i = 0; i < kReciprocalSteps; ++i) y = hn::Mul(y, hn::NegMulAdd(x, y, all(2)));
  return y;
}

template <class T>
HWY_INLINE float dot(const T* a, const T* b, std::int64_t n) {
  Vec sum = zero();
  each(n, [&](auto part, std::int64_t i)
              HWY_ATTR { sum = hn::MulAdd(part.load(a + i), part.load(b + i), sum); });
  return sum_of(sum);
}

// to += factor * from
template <class T>
HWY_INLINE void add_scaled(const T* from, float factor, float* to, std::int64_t n) {
  const Vec f = all(factor);
  each(n, [&](auto part, std::int64_t i) HWY_ATTR {
    part.store(hn::MulAdd(f, part.load(from + i), part.load(to + i)), to + i);
  });
}

// to += from
template <class T>
HWY_INLINE void add_to(const T* from, float* to, std::int64_t n) {
  each(n, [&](auto part, std::int64_t i)
              HWY_ATTR { part.store(hn::Add(part.load(from + i), part.load(to + i)), to + i); });
}

constexpr float kLowest = -3.4028235e38f;

HWY_INLINE float maximum(const float* x, std::int64_t n) {
  Vec top = all(kLowest);
  each(n, [&](auto part, std::int64_t i)
              HWY_ATTR { top = hn::Max(top, part.keep(part.load(x + i), kLowest)); });
  return max_of(top);
}

}  // namespace moebius::cpu::N_LEVEL
HWY_AFTER_NAMESPACE();

#endif  // per-level guard
