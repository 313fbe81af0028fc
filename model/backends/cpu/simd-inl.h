// Vector building blocks of the kernels. Included once per instruction set: see foreach_target.h.
#if defined(MOEBIUS_CPU_SIMD_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef MOEBIUS_CPU_SIMD_INL_H_
#undef MOEBIUS_CPU_SIMD_INL_H_
#else
#define MOEBIUS_CPU_SIMD_INL_H_
#endif

#include <hwy/contrib/math/math-inl.h>
#include <hwy/highway.h>

#include <cstdint>

HWY_BEFORE_NAMESPACE();
namespace moebius::cpu::HWY_NAMESPACE {

namespace hn = hwy::HWY_NAMESPACE;
using Tag = hn::ScalableTag<float>;
using Vec = hn::Vec<Tag>;
constexpr Tag kTag;
constexpr auto kLanes = static_cast<std::int64_t>(hn::MaxLanes(Tag()));

// One vector's worth of consecutive elements: all lanes, or the first few of them with zeros
// behind. Kernels take either as `auto part`, so an element meets the same instructions at any
// position.
struct Whole {
  HWY_INLINE Vec load(const float* from) const { return hn::LoadU(kTag, from); }
  HWY_INLINE void store(Vec v, float* to) const { hn::StoreU(v, kTag, to); }
  HWY_INLINE Vec keep(Vec v, float /*otherwise*/) const { return v; }
};
struct Tail {
  std::int64_t count;
  HWY_INLINE auto mask() const { return hn::FirstN(kTag, static_cast<std::size_t>(count)); }
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
#else
  HWY_INLINE Vec load(const float* from) const { return hn::MaskedLoad(mask(), kTag, from); }
  HWY_INLINE void store(Vec v, float* to) const { hn::BlendedStore(v, mask(), kTag, to); }
#endif
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

HWY_INLINE Vec all(float value) { return hn::Set(kTag, value); }
HWY_INLINE Vec zero() { return hn::Zero(kTag); }
HWY_INLINE float sum_of(Vec v) { return hn::GetLane(hn::SumOfLanes(kTag, v)); }
HWY_INLINE float max_of(Vec v) { return hn::GetLane(hn::MaxOfLanes(kTag, v)); }
HWY_INLINE Vec exp_of(Vec x) { return hn::Exp(kTag, x); }

HWY_INLINE float dot(const float* a, const float* b, std::int64_t n) {
  Vec sum = zero();
  each(n, [&](auto part, std::int64_t i)
              HWY_ATTR { sum = hn::MulAdd(part.load(a + i), part.load(b + i), sum); });
  return sum_of(sum);
}

// to += factor * from
HWY_INLINE void add_scaled(const float* from, float factor, float* to, std::int64_t n) {
  const Vec f = all(factor);
  each(n, [&](auto part, std::int64_t i) HWY_ATTR {
    part.store(hn::MulAdd(f, part.load(from + i), part.load(to + i)), to + i);
  });
}

// to += from
HWY_INLINE void add_to(const float* from, float* to, std::int64_t n) {
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

}  // namespace moebius::cpu::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#endif  // per-target guard
