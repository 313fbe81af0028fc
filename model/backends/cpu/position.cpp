#include <cmath>

#include "model/backends/cpu/cpu.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "model/backends/cpu/position.cpp"
#include "model/backends/cpu/foreach_level.h"  // includes this file once per instruction level

#include "model/backends/cpu/simd-inl.h"

HWY_BEFORE_NAMESPACE();
namespace moebius::cpu::N_LEVEL {

// x = x cosine + swap(x) sine for one head of one row; swap exchanges the two of each pair.
template <class T>
void rotate_head(const float* cosine, const float* sine, float sign, T* x, std::int64_t n) {
#if HWY_TARGET == HWY_SCALAR
  const Whole one;
  for (std::int64_t i = 0; i < n; i += 2) {
    const float even = one.load(x + i).raw, odd = one.load(x + i + 1).raw;
    one.store(Vec(even * cosine[i] + sign * odd * sine[i]), x + i);
    one.store(Vec(odd * cosine[i + 1] + sign * even * sine[i + 1]), x + i + 1);
  }
#else
  each(n, [&](auto part, std::int64_t i) HWY_ATTR {
    const Vec v = part.load(x + i);
    const Vec swapped = hn::Mul(hn::Reverse2(kTag, v), all(sign));
    part.store(hn::MulAdd(v, part.load(cosine + i), hn::Mul(swapped, part.load(sine + i))), x + i);
  });
#endif
}

// All heads of one row.
void rotate_row(const float* cosine, const float* sine, float sign, const View& x,
                std::int64_t heads) {
  const std::int64_t width = x.cols / heads;
  typed(x.dtype, [&]<class T>() {
    for (std::int64_t h = 0; h < heads; ++h)
      rotate_head(cosine, sine, sign, Matrix<T>(x).row(0) + h * width, width);
  });
}

// Channels [begin, begin + n) of a convolution over `rows` rows that are whole sequences.
// y[s] = sum_{j <= s} taps[j] x[s-j].
template <class T>
void conv_typed(const Matrix<T>& x, std::int64_t seq, const Floats& taps, const Matrix<T>& y,
                std::int64_t begin, std::int64_t n) {
  for (std::int64_t t = 0; t < x.rows; ++t) {
    const std::int64_t reach = std::min(taps.rows, t % seq + 1);
    each(n, [&](auto part, std::int64_t i) HWY_ATTR {
      const std::int64_t c = begin + i;
      Vec sum = zero();
      for (std::int64_t j = 0; j < reach; ++j)
        sum = hn::MulAdd(part.load(taps.row(j) + c), part.load(x.row(t - j) + c), sum);
      part.store(sum, y.row(t) + c);
    });
  }
}

void conv_channels(const View& x, std::int64_t seq, const Floats& taps, const View& y,
                   std::int64_t begin, std::int64_t n) {
  typed(x.dtype, [&]<class T>() { conv_typed<T>(x, seq, taps, y, begin, n); });
}

// dx[s] = sum_{s+j < S} taps[j] dy[s+j], dtaps[j] += sum_s dy[s] x[s-j].
template <class T>
void conv_typed_backward(const Matrix<T>& x, std::int64_t seq, const Floats& taps,
                         const Matrix<T>& dy, const Matrix<T>& dx, const Floats& dtaps,
                         std::int64_t begin, std::int64_t n) {
  for (std::int64_t t = 0; t < x.rows; ++t) {
    const std::int64_t reach = std::min(taps.rows, seq - t % seq);
    each(n, [&](auto part, std::int64_t i) HWY_ATTR {
      const std::int64_t c = begin + i;
      Vec sum = zero();
      for (std::int64_t j = 0; j < reach; ++j)
        sum = hn::MulAdd(part.load(taps.row(j) + c), part.load(dy.row(t + j) + c), sum);
      part.store(sum, dx.row(t) + c);
    });
  }
  for (std::int64_t j = 0; j < taps.rows; ++j)
    each(n, [&](auto part, std::int64_t i) HWY_ATTR {
      const std::int64_t c = begin + i;
      Vec sum = zero();
      for (std::int64_t t = j; t < x.rows; ++t)
        if (t % seq >= j)
          sum = hn::MulAdd(part.load(dy.row(t) + c), part.load(x.row(t - j) + c), sum);
      part.store(hn::Add(part.load(dtaps.row(j) + c), sum), dtaps.row(j) + c);
    });
}

void conv_channels_backward(const View& x, std::int64_t seq, const Floats& taps, const View& dy,
                            const View& dx, const Floats& dtaps, std::int64_t begin,
                            std::int64_t n) {
  typed(x.dtype, [&]<class T>() { conv_typed_backward<T>(x, seq, taps, dy, dx, dtaps, begin, n); });
}

}  // namespace moebius::cpu::N_LEVEL
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace moebius::cpu {
namespace {

MOEBIUS_EXPORT(rotate_row);
MOEBIUS_EXPORT(conv_channels);
MOEBIUS_EXPORT(conv_channels_backward);

constexpr std::int64_t kChannels = 64;  // of one tile: every tile reads all rows

}  // namespace

// Position s turns pair i by s base^(-2i/K) (RoPE, 2104.09864): computed once per shape.
const RotaryTable& Cpu::rotary(std::int64_t seq, std::int64_t head_dim, double base) {
  for (const RotaryTable& table : rotary_)
    if (table.seq == seq && table.head_dim == head_dim && table.base == base) return table;
  RotaryTable& table = rotary_.emplace_back(RotaryTable{seq, head_dim, base, {}, {}});
  for (std::int64_t s = 0; s < seq; ++s)
    for (std::int64_t c = 0; c < head_dim; ++c) {
      const double exponent = -static_cast<double>(c - c % 2) / static_cast<double>(head_dim);
      const double angle = static_cast<double>(s) * std::pow(base, exponent);
      table.cosine.push_back(static_cast<float>(std::cos(angle)));
      table.sine.push_back(static_cast<float>(c % 2 == 0 ? -std::sin(angle) : std::sin(angle)));
    }
  return table;
}

void Cpu::rotate(View x, std::int64_t seq, std::int64_t heads, double base, bool inverse) {
  const std::int64_t width = x.cols / heads;  // K
  MOEBIUS_CHECK(width * heads == x.cols && width % 2 == 0,
                "[rotate] {} columns of {} heads: the head width must be even", x.cols, heads);
  const RotaryTable& table = rotary(seq, width, base);
  const auto kernel = MOEBIUS_DISPATCH(rotate_row);
  crew_.rows(x.rows, x.cols, [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t t = begin; t < end; ++t)
      kernel(table.cosine.data() + t % seq * width, table.sine.data() + t % seq * width,
             inverse ? -1.0f : 1.0f, rows(x, t, t + 1), heads);
  });
}

void Cpu::causal_conv(View x, std::int64_t seq, Weight taps_weight, View y) {
  const Floats taps = value(taps_weight);
  check_shape(y, x.rows, x.cols, "causal_conv y");
  check_shape(taps, taps.rows, x.cols, "causal_conv taps");
  const auto kernel = MOEBIUS_DISPATCH(conv_channels);
  crew_.ranges(x.cols, kChannels, [&](std::int64_t begin, std::int64_t end) {
    kernel(x, seq, taps, y, begin, end - begin);
  });
}

void Cpu::causal_conv_backward(View x, std::int64_t seq, Weight taps_weight, View dy, View dx) {
  const Floats taps = value(taps_weight);
  check_shape(dx, x.rows, x.cols, "causal_conv_backward dx");
  check_shape(dy, x.rows, x.cols, "causal_conv_backward dy");
  const auto kernel = MOEBIUS_DISPATCH(conv_channels_backward);
  const Floats dtaps = gradient(taps_weight);
  crew_.ranges(x.cols, kChannels, [&](std::int64_t begin, std::int64_t end) {
    kernel(x, seq, taps, dy, dx, dtaps, begin, end - begin);
  });
}

}  // namespace moebius::cpu
#endif  // HWY_ONCE
