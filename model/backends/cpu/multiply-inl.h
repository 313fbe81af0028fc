// Products of lanes (see pack-inl.h), the inner instruction of every product: sum += a b per lane.
// Included once per instruction level: see foreach_level.h.
#if defined(MOEBIUS_CPU_MULTIPLY_INL_H_) != defined(MOEBIUS_LEVEL_TOGGLE)
#ifdef MOEBIUS_CPU_MULTIPLY_INL_H_
#undef MOEBIUS_CPU_MULTIPLY_INL_H_
#else
#define MOEBIUS_CPU_MULTIPLY_INL_H_
#endif

#include "model/backends/cpu/simd-inl.h"

HWY_BEFORE_NAMESPACE();
namespace moebius::cpu::N_LEVEL {

struct MultiplyF32 {
  static constexpr double kFlops = 2;  // of a lane
  static HWY_INLINE Vec add(Vec a, Vec b, Vec sum) { return hn::MulAdd(a, b, sum); }
};
struct MultiplyBf16 {
  static constexpr double kFlops = 4;
  static HWY_INLINE Vec add(Vec a, Vec b, Vec sum) {
#ifdef MOEBIUS_AVX512_BF16
    return Vec{add_products(a.raw, b.raw, sum.raw)};
#else
    return hn::MulAdd(low_half(a), low_half(b), hn::MulAdd(high_half(a), high_half(b), sum));
#endif
  }
};

}  // namespace moebius::cpu::N_LEVEL
HWY_AFTER_NAMESPACE();

#endif  // per-level guard
