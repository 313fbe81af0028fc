#include <cmath>
#include <numbers>

#include "model/backends/cpu/cpu.h"
#include "model/backends/shared.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "model/backends/cpu/initialise.cpp"
#include "model/backends/cpu/foreach_level.h"  // includes this file once per instruction level

#include "model/backends/cpu/simd-inl.h"

HWY_BEFORE_NAMESPACE();
namespace moebius::cpu::N_LEVEL {

using Tag64 = hn::ScalableTag<double>;
using TagU64 = hn::RebindToUnsigned<Tag64>;
using Vec64 = hn::Vec<Tag64>;
using VecU64 = hn::Vec<TagU64>;
constexpr Tag64 kTag64;
constexpr TagU64 kTagU64;

// Philox4x32-10 (Salmon et al. 2011): one counter per 64-bit lane, every 32-bit word of the state
// in the low half of a lane.
struct Philox {
  VecU64 word[4];
};
HWY_INLINE Philox philox_of(std::uint64_t key, VecU64 counter) {
  const VecU64 low = hn::Set(kTagU64, 0xffffffffu);
  const VecU64 multiply0 = hn::Set(kTagU64, 0xD2511F53u), multiply1 = hn::Set(kTagU64, 0xCD9E8D57u);
  const auto product = [](VecU64 a, VecU64 b) HWY_ATTR {
#if HWY_TARGET == HWY_SCALAR
    return hn::Set(kTagU64, hn::GetLane(a) * hn::GetLane(b));
#else
    const hn::Repartition<std::uint32_t, TagU64> halves;
    return hn::MulEven(hn::BitCast(halves, a), hn::BitCast(halves, b));
#endif
  };
  auto key0 = static_cast<std::uint32_t>(key), key1 = static_cast<std::uint32_t>(key >> 32);
  VecU64 c0 = hn::And(counter, low), c1 = hn::ShiftRight<32>(counter);
  VecU64 c2 = hn::Zero(kTagU64), c3 = hn::Zero(kTagU64);
  for (int round = 0; round < 10; ++round) {
    const VecU64 p0 = product(multiply0, c0), p1 = product(multiply1, c2);
    c0 = hn::Xor(hn::Xor(hn::ShiftRight<32>(p1), c1), hn::Set(kTagU64, key0));
    c2 = hn::Xor(hn::Xor(hn::ShiftRight<32>(p0), c3), hn::Set(kTagU64, key1));
    c1 = hn::And(p1, low);
    c3 = hn::And(p0, low);
    key0 += 0x9E3779B9u;
    key1 += 0xBB67AE85u;
  }
  return {{c0, c1, c2, c3}};
}

// (high, low) -> an integer below 2^53 as a double, exactly.
HWY_INLINE Vec64 top_53_bits(VecU64 high, VecU64 low) {
  const VecU64 bits = hn::ShiftRight<11>(hn::Or(hn::ShiftLeft<32>(high), low));
  return hn::ConvertTo(kTag64, hn::BitCast(hn::RebindToSigned<TagU64>(), bits));
}

// stddev times the Box-Muller pairs first .. first + count - 1 of `key`, before rounding: the even
// ones to even[], the odd ones to odd[]; writes whole vectors.
void normal_pairs(std::uint64_t key, std::uint64_t first, std::int64_t count, double stddev,
                  double* even, double* odd) {
  const auto lanes = static_cast<std::int64_t>(hn::Lanes(kTag64));
  const Vec64 unit = hn::Set(kTag64, 0x1p-53);
  for (std::int64_t i = 0; i < count; i += lanes) {
    const Philox bits = philox_of(key, hn::Iota(kTagU64, first + static_cast<std::uint64_t>(i)));
    const Vec64 u =
        hn::Mul(hn::Add(top_53_bits(bits.word[1], bits.word[0]), hn::Set(kTag64, 1.0)), unit);
    const Vec64 turn = hn::Mul(top_53_bits(bits.word[3], bits.word[2]), unit);
    const Vec64 angle = hn::Mul(hn::Set(kTag64, 2 * std::numbers::pi), turn);
    const Vec64 radius = hn::Sqrt(hn::Mul(hn::Set(kTag64, -2.0), hn::Log(kTag64, u)));
    const Vec64 scaled = hn::Mul(hn::Set(kTag64, stddev), radius);
    hn::StoreU(hn::Mul(scaled, hn::Cos(kTag64, angle)), kTag64, even + i);
    hn::StoreU(hn::Mul(scaled, hn::Sin(kTag64, angle)), kTag64, odd + i);
  }
}

}  // namespace moebius::cpu::N_LEVEL
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace moebius::cpu {
namespace {

MOEBIUS_EXPORT(normal_pairs);

// Rounds x, which is known up to `error`. Where that leaves two floats, the shared definition
// decides: so the result is its result, to the bit, at a sixth of the time.
void round_to(double x, double error, const ParamSlot& slot, std::uint64_t key, std::int64_t i,
              float* to) {
  const auto low = static_cast<float>(x - error), high = static_cast<float>(x + error);
  if (low == high)
    *to = low;
  else
    initial_values(slot, key, i, i + 1, to);
}

}  // namespace

void Cpu::initialise(View value, const ParamSlot& s, std::uint64_t key) {
  float* const to = Floats(value).data;
  const auto kernel = MOEBIUS_DISPATCH(normal_pairs);
  // |z| < 8.6, and the vector functions err by less than 4 ulp of their greatest values.
  const double error = 1e-14 * std::abs(s.init.value);
  crew_.ranges(s.size(), 1 << 16, [&](std::int64_t begin, std::int64_t end) {
    if (s.init.kind != Init::Kind::Normal) return initial_values(s, key, begin, end, to + begin);
    constexpr std::int64_t kPairs = 256;
    double even[kPairs], odd[kPairs];
    for (std::int64_t i = begin; i < end; i += 2 * kPairs) {
      const std::int64_t count = std::min(kPairs, (end - i + 1) / 2);
      kernel(key, static_cast<std::uint64_t>(i / 2), count, s.init.value, even, odd);
      for (std::int64_t p = 0; p < count; ++p) {
        const std::int64_t at = i + 2 * p;
        round_to(even[p], error, s, key, at, to + at);
        if (at + 1 < end) round_to(odd[p], error, s, key, at + 1, to + at + 1);
      }
    }
  });
}

}  // namespace moebius::cpu
#endif  // HWY_ONCE
