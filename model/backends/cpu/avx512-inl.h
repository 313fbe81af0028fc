// Instructions of AVX-512 that Highway 1.0 does not name, on its raw vectors of f32.
// No include guard: simd-inl.h includes this once for each level that has them (foreach_level.h).
HWY_BEFORE_NAMESPACE();
namespace moebius::cpu::N_LEVEL {

// x - floor(x)
HWY_INLINE __m512 fraction(__m512 x) { return _mm512_reduce_ps(x, 9); }
// v 2^floor(x). With a mask because GCC 12 warns of undefined values in the intrinsic without one.
HWY_INLINE __m512 times_power(__m512 v, __m512 x) { return _mm512_maskz_scalef_ps(0xffff, v, x); }

#ifdef MOEBIUS_AVX512_BF16
// bf16(v): nearest, ties to even; denormals become zero.
HWY_INLINE __m256i nearest_bf16(__m512 v) {
  return reinterpret_cast<__m256i>(_mm512_cvtneps_pbh(v));
}
// sum + a b, of pairs of bf16.
HWY_INLINE __m512 add_products(__m512 a, __m512 b, __m512 sum) {
  return _mm512_dpbf16_ps(sum, reinterpret_cast<__m512bh>(a), reinterpret_cast<__m512bh>(b));
}
#endif

}  // namespace moebius::cpu::N_LEVEL
HWY_AFTER_NAMESPACE();
