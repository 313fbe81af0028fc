// Products of lanes (see pack-inl.h), the inner instruction of every product: sum += a b per lane.
// Included once per instruction set: see foreach_target.h.
#if defined(MOEBIUS_CPU_MULTIPLY_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef MOEBIUS_CPU_MULTIPLY_INL_H_
#undef MOEBIUS_CPU_MULTIPLY_INL_H_
#else
#define MOEBIUS_CPU_MULTIPLY_INL_H_
#endif

#include "model/backends/cpu/simd-inl.h"

HWY_BEFORE_NAMESPACE();
namespace moebius::cpu::HWY_NAMESPACE {

struct MultiplyF32 {
  static constexpr double kFlops = 2;  // of a lane
  static HWY_INLINE Vec add(Vec a, Vec b, Vec sum) { return hn::MulAdd(a, b, sum); }
};
struct MultiplyBf16 {
  static constexpr double kFlops = 4;
  static HWY_INLINE Vec add(Vec a, Vec b, Vec sum) {
    return hn::MulAdd(low_half(a), low_half(b), hn::MulAdd(high_half(a), high_half(b), sum));
  }
};
#if HWY_TARGET == HWY_AVX3
struct MultiplyBf16Native {  // AVX512-BF16, which this Highway does not know
  static constexpr double kFlops = 4;
  static HWY_INLINE Vec add(Vec a, Vec b, Vec sum) {
    asm("vdpbf16ps %2, %1, %0" : "+v"(sum.raw) : "v"(a.raw), "v"(b.raw));
    return sum;
  }
};
#else
using MultiplyBf16Native = MultiplyBf16;
#endif

}  // namespace moebius::cpu::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#endif  // per-target guard
