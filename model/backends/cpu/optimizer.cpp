#include <cmath>

#include "model/backends/cpu/cpu.h"
#include "model/backends/cpu/library.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "model/backends/cpu/optimizer.cpp"
#include <hwy/foreach_target.h>  // includes this file once per instruction set

#include "model/backends/cpu/simd-inl.h"

HWY_BEFORE_NAMESPACE();
namespace moebius::cpu::HWY_NAMESPACE {

// Passes that only read ask for the next page: what the processor fetches by itself stops at its
// end.
constexpr std::int64_t kPage = 1024;  // floats
HWY_INLINE void fetch(const float* from) { __builtin_prefetch(from + kPage); }

float sum_of_squares(const float* g, std::int64_t n) {
  Vec sum = zero();
  each(n, [&](auto part, std::int64_t i) HWY_ATTR {
    fetch(g + i);
    const Vec x = part.load(g + i);
    sum = hn::MulAdd(x, x, sum);
  });
  return sum_of(sum);
}

// AdamW (1711.05101) on n numbers: m = b1 m + (1 - b1) g, v = b2 v + (1 - b2) g^2,
// w -= lr ((m / c1) / (sqrt(v / c2) + epsilon) + decay w); g is scaled by `factor` first.
void adamw_step(float* w, const float* g, float* m, float* v, std::int64_t n, float factor,
                const AdamW& o) {
  const Vec beta1 = all(static_cast<float>(o.beta1)), rest1 = all(static_cast<float>(1 - o.beta1));
  const Vec beta2 = all(static_cast<float>(o.beta2)), rest2 = all(static_cast<float>(1 - o.beta2));
  const Vec scale1 = all(static_cast<float>(1 / o.correction1));
  const Vec scale2 = all(static_cast<float>(1 / o.correction2));
  const Vec epsilon = all(static_cast<float>(o.epsilon)), rate = all(static_cast<float>(o.lr));
  const Vec decay = all(static_cast<float>(o.decay)), clip = all(factor);
  each(n, [&](auto part, std::int64_t i) HWY_ATTR {
    const Vec grad = hn::Mul(part.load(g + i), clip), old = part.load(w + i);
    const Vec mean = hn::MulAdd(beta1, part.load(m + i), hn::Mul(rest1, grad));
    const Vec square = hn::MulAdd(beta2, part.load(v + i), hn::Mul(hn::Mul(rest2, grad), grad));
    const Vec norm = hn::Add(hn::Sqrt(hn::Mul(square, scale2)), epsilon);
    const Vec update = hn::MulAdd(decay, old, hn::Div(hn::Mul(mean, scale1), norm));
    part.store(mean, m + i);
    part.store(square, v + i);
    part.store(hn::NegMulAdd(rate, update, old), w + i);
  });
}

// row[i] = sum_j (factor g_ij)^2, col[j] = sum_i (factor g_ij)^2.
void square_sums(const Floats& g, float factor, const Floats& row, float* col) {
  std::fill_n(col, g.cols, 0.0f);
  for (std::int64_t i = 0; i < g.rows; ++i) {
    const float* from = g.row(i);
    Vec sum = zero();
    each(g.cols, [&](auto part, std::int64_t j) HWY_ATTR {
      fetch(from + j);
      const Vec x = hn::Mul(part.load(from + j), all(factor)), square = hn::Mul(x, x);
      sum = hn::Add(sum, square);
      part.store(hn::Add(part.load(col + j), square), col + j);
    });
    *row.row(i) = sum_of(sum);
  }
}

// u_ij = g_ij a_i b_j. -> sum of u^2
float update_norm(const Floats& g, const float* a, const float* b) {
  Vec sum = zero();
  for (std::int64_t i = 0; i < g.rows; ++i)
    each(g.cols, [&](auto part, std::int64_t j) HWY_ATTR {
      fetch(g.row(i) + j);
      const Vec u = hn::Mul(hn::Mul(part.load(g.row(i) + j), all(a[i])), part.load(b + j));
      sum = hn::MulAdd(u, u, sum);
    });
  return sum_of(sum);
}

// w -= rate u + decay w.
void apply_update(const Floats& w, const Floats& g, const float* a, const float* b, float rate,
                  float decay) {
  for (std::int64_t i = 0; i < g.rows; ++i) {
    float* const to = w.row(i);
    const float* const grad = g.row(i);
    const Vec scale = all(rate * a[i]);
    each(g.cols, [&](auto part, std::int64_t j) HWY_ATTR {
      const Vec u = hn::Mul(hn::Mul(part.load(grad + j), scale), part.load(b + j));
      const Vec old = part.load(to + j);
      part.store(hn::Sub(hn::NegMulAdd(all(decay), old, old), u), to + j);
    });
  }
}

}  // namespace moebius::cpu::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace moebius::cpu {
namespace {

HWY_EXPORT(sum_of_squares);
HWY_EXPORT(adamw_step);
HWY_EXPORT(square_sums);
HWY_EXPORT(update_norm);
HWY_EXPORT(apply_update);

constexpr std::int64_t kTileElements = 1 << 16;
std::int64_t tile_rows(std::int64_t cols) { return kTileElements / std::min(cols, kTileElements); }

// min(1, clip / sqrt(norm2)); 1 when clip <= 0.
float clip_factor(const Doubles& norm2, double clip) {
  return clip > 0 ? static_cast<float>(std::min(1.0, clip / std::sqrt(*norm2.row(0)))) : 1.0f;
}

void check_dense(const Floats& m, const char* what) {
  MOEBIUS_CHECK(m.dense(), "[{}] rows are {} apart, must be dense: {}", what, m.ld, m.cols);
}

// The rate at which u of root mean square `rms` is applied.
float clipped_rate(double squares, std::int64_t count, const Adafactor& o) {
  const double rms = std::sqrt(squares / static_cast<double>(count));
  return static_cast<float>(o.lr / std::max(1.0, rms / o.clip_rms));
}

float average(double beta, float old, double fresh) {
  return static_cast<float>(beta * old + (1 - beta) * fresh);
}

// A vector: v = b2 v + (1 - b2) (g^2 + epsilon), u = g / sqrt(v), w -= rate u + lr decay w.
// g ends as u.
void full_step(const Floats& w, const Floats& g, const Floats& v, float factor,
               const Adafactor& o) {
  double squares = 0;
  for (std::int64_t i = 0; i < w.size(); ++i) {
    const double grad = double{factor} * g.data[i];
    v.data[i] = average(o.beta2, v.data[i], grad * grad + o.epsilon);
    g.data[i] = static_cast<float>(grad / std::sqrt(double{v.data[i]}));
    squares += double{g.data[i]} * g.data[i];
  }
  const float rate = clipped_rate(squares, w.size(), o);
  const auto decay = static_cast<float>(o.lr * o.decay);
  for (std::int64_t i = 0; i < w.size(); ++i) w.data[i] -= rate * g.data[i] + decay * w.data[i];
}

// One matrix (1804.04235, algorithm 4, beta1 = 0, given rate): with s = g^2 + epsilon,
// r = b2 r + (1 - b2) mean_j s, c = b2 c + (1 - b2) mean_i s, u = g / sqrt(r c / mean(r)).
// w, g: [rows, cols], r: [rows, 1], c: [1, cols].
void factored_step(Crew& crew, const Floats& w, const Floats& g, const Floats& r, const Floats& c,
                   float factor, const Adafactor& o) {
  const std::int64_t tile = tile_rows(w.cols), tiles = ceil_div(w.rows, tile);
  // By row: sums, then factors a. By column: factors b. By tile: sums of columns, of u^2.
  const Floats a(crew.shared(update_scratch(w.rows, w.cols)), w.rows, 1);
  const Floats b(a.data + w.rows, 1, w.cols), cols(b.data + w.cols, tiles, w.cols);
  float* const squares = cols.data + cols.size();
  const auto sums = HWY_DYNAMIC_DISPATCH(square_sums);
  const auto norm = HWY_DYNAMIC_DISPATCH(update_norm);
  const auto apply = HWY_DYNAMIC_DISPATCH(apply_update);
  // 1. Sums of the squared gradient.
  crew.ranges(w.rows, tile, [&](std::int64_t begin, std::int64_t end) {
    sums(g.slice(begin, end), factor, a.slice(begin, end), cols.row(begin / tile));
  });
  // 2. Running averages.
  double mean = 0;  // of r
  for (std::int64_t i = 0; i < w.rows; ++i) {
    const double fresh = a.data[i] / static_cast<double>(w.cols) + o.epsilon;
    *r.row(i) = average(o.beta2, *r.row(i), fresh);
    mean += *r.row(i) / static_cast<double>(w.rows);
  }
  for (std::int64_t i = 1; i < tiles; ++i)
    for (std::int64_t j = 0; j < w.cols; ++j) cols.data[j] += cols.row(i)[j];
  for (std::int64_t j = 0; j < w.cols; ++j) {
    const double fresh = cols.data[j] / static_cast<double>(w.rows) + o.epsilon;
    c.data[j] = average(o.beta2, c.data[j], fresh);
    b.data[j] = static_cast<float>(1 / std::sqrt(double{c.data[j]}));
  }
  for (std::int64_t i = 0; i < w.rows; ++i)
    a.data[i] = static_cast<float>(factor / std::sqrt(*r.row(i) / mean));
  // 3. Update.
  crew.ranges(w.rows, tile, [&](std::int64_t begin, std::int64_t end) {
    squares[begin / tile] = norm(g.slice(begin, end), a.data + begin, b.data);
  });
  double total = 0;
  for (std::int64_t i = 0; i < tiles; ++i) total += squares[i];
  const float rate = clipped_rate(total, w.size(), o);
  crew.ranges(w.rows, tile, [&](std::int64_t begin, std::int64_t end) {
    apply(w.slice(begin, end), g.slice(begin, end), a.data + begin, b.data, rate,
          static_cast<float>(o.lr * o.decay));
  });
}

}  // namespace

std::int64_t update_scratch(std::int64_t rows, std::int64_t cols) {
  return rows + cols + ceil_div(rows, tile_rows(cols)) * (cols + 1);
}

void Cpu::squared_norm(Weight w, View sum) {
  const Floats g = gradient(w);
  constexpr std::int64_t kChunk = 1 << 14;  // its sum is in f32, the sum of sums in f64
  float* const partial = crew_.shared(ceil_div(g.size(), kChunk));
  const auto kernel = HWY_DYNAMIC_DISPATCH(sum_of_squares);
  crew_.ranges(g.size(), kChunk, [&](std::int64_t begin, std::int64_t end) {
    partial[begin / kChunk] = kernel(g.data + begin, end - begin);
  });
  double total = 0;
  for (std::int64_t i = 0; i < ceil_div(g.size(), kChunk); ++i) total += partial[i];
  *Doubles(sum).row(0) += total;
}

void Cpu::adamw(Weight weight, View m_view, View v_view, View norm2, double clip,
                const AdamW& options) {
  const Floats w = value(weight), g = gradient(weight), m = m_view, v = v_view;
  check_shape(m, w.rows, w.cols, "adamw m");
  check_shape(v, w.rows, w.cols, "adamw v");
  check_dense(m, "adamw m");
  check_dense(v, "adamw v");
  const float factor = clip_factor(norm2, clip);
  const auto kernel = HWY_DYNAMIC_DISPATCH(adamw_step);
  crew_.ranges(w.size(), kTileElements, [&](std::int64_t begin, std::int64_t end) {
    kernel(w.data + begin, g.data + begin, m.data + begin, v.data + begin, end - begin, factor,
           options);
  });
}

// Every matrix of a batch (every expert) is a tensor of its own. Without `columns`, a full second
// moment.
void Cpu::adafactor(Weight weight, View rows_view, View columns_view, View norm2, double clip,
                    const Adafactor& options) {
  const Floats w = value(weight), g = gradient(weight), rows = rows_view, columns = columns_view;
  const ParamSlot& s = slot(weight);
  const bool factored = !columns.empty();
  check_shape(rows, w.rows, factored ? 1 : w.cols, "adafactor rows");
  if (factored) check_shape(columns, s.batch, w.cols, "adafactor columns");
  if (!factored) check_dense(rows, "adafactor rows");
  const float factor = clip_factor(norm2, clip);
  for (std::int64_t i = 0; i < s.batch; ++i) {
    const std::int64_t begin = i * s.rows, end = begin + s.rows;
    if (factored)
      factored_step(crew_, w.slice(begin, end), g.slice(begin, end), rows.slice(begin, end),
                    columns.slice(i, i + 1), factor, options);
    else
      full_step(w.slice(begin, end), g.slice(begin, end), rows.slice(begin, end), factor, options);
  }
}

}  // namespace moebius::cpu
#endif  // HWY_ONCE
