// Includes a file of kernels once for each instruction level (level.h). Such a file begins with
//
//   #undef HWY_TARGET_INCLUDE
//   #define HWY_TARGET_INCLUDE "model/backends/cpu/FILE.cpp"
//   #include "model/backends/cpu/foreach_level.h"
//
// puts its kernels into moebius::cpu::N_LEVEL between HWY_BEFORE_NAMESPACE() and
// HWY_AFTER_NAMESPACE(), which hold the level's function attributes, and then, under HWY_ONCE,
// names them with MOEBIUS_EXPORT and takes those of the level in use by MOEBIUS_DISPATCH.
//
// No include guard: every inclusion begins a level.

// The targets of Highway that are levels. Others would gain nothing here, or have vectors without
// a size (SVE).
#if defined(HWY_TARGETS) && !defined(HWY_DISABLED_TARGETS)
#error "foreach_level.h has to come before every header of Highway that knows targets"
#endif
#define HWY_DISABLED_TARGETS (~(HWY_BASELINE_TARGETS | HWY_SSE4 | HWY_AVX2 | HWY_AVX3))
#include <hwy/foreach_target.h>  // includes the file for every target but the baseline
#include <hwy/highway.h>
// The inclusion within AVX3 below must find all headers of Highway read for AVX3 already.
#include <hwy/contrib/math/math-inl.h>

#if HWY_ARCH_X86 && HWY_STATIC_TARGET <= HWY_SSE4
#error "Levels are chosen when the program runs: build without -march"
#endif

// AVX-512 with BF16, which Highway 1.0 does not know: its AVX3 and one extension more. The file is
// included for it before it goes on with AVX3.
#if HWY_TARGET == HWY_AVX3 && !defined(MOEBIUS_AVX512_BF16)
#pragma push_macro("HWY_TARGET_STR")
#undef HWY_TARGET_STR
#define HWY_TARGET_STR HWY_TARGET_STR_AVX3 ",avx512bf16"
#define MOEBIUS_AVX512_BF16
#include HWY_TARGET_INCLUDE
#undef MOEBIUS_AVX512_BF16
#pragma pop_macro("HWY_TARGET_STR")
#endif

#undef N_LEVEL
#ifdef MOEBIUS_AVX512_BF16
#define N_LEVEL N_AVX3_BF16
#else
#define N_LEVEL HWY_NAMESPACE
#endif

// Headers that every level includes once compare their guard with this toggle: the two differ until
// the header has been read for the level.
#ifdef MOEBIUS_LEVEL_TOGGLE
#undef MOEBIUS_LEVEL_TOGGLE
#else
#define MOEBIUS_LEVEL_TOGGLE
#endif

#if HWY_ONCE && !defined(MOEBIUS_EXPORT)
#include "model/backends/cpu/level.h"

#if HWY_TARGETS & HWY_AVX3
#define MOEBIUS_CHOOSE_AVX512_BF16(kernel) &N_AVX3_BF16::kernel
#else
#define MOEBIUS_CHOOSE_AVX512_BF16(kernel) nullptr
#endif
#define MOEBIUS_EXPORT(kernel)                                                        \
  constexpr PerLevel<decltype(&HWY_STATIC_DISPATCH(kernel))> kernel##_kernels {       \
    {                                                                                 \
      &HWY_STATIC_DISPATCH(kernel), HWY_CHOOSE_SSE4(kernel), HWY_CHOOSE_AVX2(kernel), \
          HWY_CHOOSE_AVX3(kernel), MOEBIUS_CHOOSE_AVX512_BF16(kernel)                 \
    }                                                                                 \
  }
#define MOEBIUS_DISPATCH(kernel) (kernel##_kernels.get())
#endif
