#include "model/backends/cpu/optimizer.h"

#include <cmath>

#include "model/backends/cpu/cpu.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "model/backends/cpu/optimizer.cpp"
#include "model/backends/cpu/foreach_level.h"  // includes this file once per instruction level

#include "model/backends/cpu/simd-inl.h"

HWY_BEFORE_NAMESPACE();
namespace moebius::cpu::N_LEVEL {

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
// -> sum of the scaled g^2
float adamw_step(float* w, const float* g, float* m, float* v, std::int64_t n, float factor,
                 const AdamW& o) {
  const Vec beta1 = all(static_cast<float>(o.beta1)), rest1 = all(static_cast<float>(1 - o.beta1));
  const Vec beta2 = all(static_cast<float>(o.beta2)), rest2 = all(static_cast<float>(1 - o.beta2));
  const Vec scale1 = all(static_cast<float>(1 / o.correction1));
  const Vec scale2 = all(static_cast<float>(1 / o.correction2));
  const Vec epsilon = all(static_cast<float>(o.epsilon)), rate = all(static_cast<float>(o.lr));
  const Vec decay = all(static_cast<float>(o.decay)), clip = all(factor);
  Vec sum = zero();
  each(n, [&](auto part, std::int64_t i) HWY_ATTR {
    const Vec grad = hn::Mul(part.load(g + i), clip), old = part.load(w + i);
    const Vec mean = hn::MulAdd(beta1, part.load(m + i), hn::Mul(rest1, grad));
    const Vec square = hn::MulAdd(beta2, part.load(v + i), hn::Mul(hn::Mul(rest2, grad), grad));
    const Vec norm = hn::Add(hn::Sqrt(hn::Mul(square, scale2)), epsilon);
    const Vec update = hn::MulAdd(decay, old, hn::Div(hn::Mul(mean, scale1), norm));
    part.store(mean, m + i);
    part.store(square, v + i);
    part.store(hn::NegMulAdd(rate, update, old), w + i);
    sum = hn::MulAdd(grad, grad, sum);
  });
  return sum_of(sum);
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

// old = beta2 old + (1 - beta2) (sum / count + epsilon) on n numbers. -> sum of the new ones
float follow(float* old, const float* sum, std::int64_t n, std::int64_t count, const Adafactor& o) {
  const Vec keep = all(static_cast<float>(o.beta2)), rest = all(static_cast<float>(1 - o.beta2));
  const Vec share = all(1 / static_cast<float>(count)),
            epsilon = all(static_cast<float>(o.epsilon));
  Vec total = zero();
  each(n, [&](auto part, std::int64_t i) HWY_ATTR {
    const Vec fresh = hn::MulAdd(part.load(sum + i), share, epsilon);
    const Vec next = hn::MulAdd(keep, part.load(old + i), hn::Mul(rest, fresh));
    part.store(next, old + i);
    total = hn::Add(total, part.keep(next, 0));
  });
  return sum_of(total);
}

// y = factor / sqrt(x / scale)
void inverse_roots(const float* x, std::int64_t n, float scale, float factor, float* y) {
  each(n, [&](auto part, std::int64_t i) HWY_ATTR {
    const Vec root = hn::Sqrt(hn::Div(part.load(x + i), all(scale)));
    part.store(hn::Div(all(factor), root), y + i);
  });
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
void subtract_update(const Floats& w, const Floats& g, const float* a, const float* b, float rate,
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

}  // namespace moebius::cpu::N_LEVEL
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace moebius::cpu {
namespace {

MOEBIUS_EXPORT(sum_of_squares);
MOEBIUS_EXPORT(adamw_step);
MOEBIUS_EXPORT(square_sums);
MOEBIUS_EXPORT(follow);
MOEBIUS_EXPORT(inverse_roots);
MOEBIUS_EXPORT(update_norm);
MOEBIUS_EXPORT(subtract_update);

constexpr std::int64_t kTileElements = 1 << 16;
constexpr std::int64_t kChunk = 1 << 14;  // its sum of squares is in f32, the sum of sums in f64
std::int64_t tile_rows(std::int64_t cols) { return kTileElements / std::min(cols, kTileElements); }

// min(1, clip / sqrt(norm2)); 1 when clip <= 0.
float clip_factor(const Doubles& norm2, double clip) {
  return clip > 0 ? static_cast<float>(std::min(1.0, clip / std::sqrt(*norm2.row(0)))) : 1.0f;
}

void check_dense(const Floats& m, const char* what) {
  MOEBIUS_CHECK(m.dense(), "[{}] rows are {} apart, must be dense: {}", what, m.ld, m.cols);
}

// The rate at which u is applied to w, by the sum of the squares of u and, where the step is
// relative to w, of w.
float clipped_rate(double u2, double w2, std::int64_t count, const Adafactor& o) {
  const auto rms = [&](double squares) { return std::sqrt(squares / static_cast<double>(count)); };
  const double scale = o.least_scale > 0 ? std::max(o.least_scale, rms(w2)) : 1;
  return static_cast<float>(o.lr * scale / std::max(1.0, rms(u2) / o.clip_rms));
}

double total(const float* x, std::int64_t n) {
  double sum = 0;
  for (std::int64_t i = 0; i < n; ++i) sum += x[i];
  return sum;
}

float average(double beta, float old, double fresh) {
  return static_cast<float>(beta * old + (1 - beta) * fresh);
}

// AdamW of w, g, m, v, which are dense. `sums`: a float a tile.
double adamw_step(const Team& team, const Floats& w, const Floats& g, const Floats& m,
                  const Floats& v, float factor, const AdamW& o, float* sums) {
  check_shape(m, w.rows, w.cols, "adamw m");
  check_shape(v, w.rows, w.cols, "adamw v");
  check_dense(m, "adamw m");
  check_dense(v, "adamw v");
  const auto kernel = MOEBIUS_DISPATCH(adamw_step);
  team.ranges(w.size(), kTileElements, [&](std::int64_t begin, std::int64_t end) {
    sums[begin / kTileElements] = kernel(w.data + begin, g.data + begin, m.data + begin,
                                         v.data + begin, end - begin, factor, o);
  });
  return total(sums, ceil_div(w.size(), kTileElements));
}

// A vector: v = b2 v + (1 - b2) (g^2 + epsilon), u = g / sqrt(v), w -= rate u + lr decay w.
// g ends as u.
double full_step(const Floats& w, const Floats& g, const Floats& v, float factor,
                 const Adafactor& o) {
  check_shape(v, w.rows, w.cols, "adafactor rows");
  check_dense(v, "adafactor rows");
  double norm2 = 0, squares = 0, w2 = 0;
  for (std::int64_t i = 0; i < w.size(); ++i) {
    const double grad = double{factor} * g.data[i];
    norm2 += grad * grad;
    v.data[i] = average(o.beta2, v.data[i], grad * grad + o.epsilon);
    g.data[i] = static_cast<float>(grad / std::sqrt(double{v.data[i]}));
    squares += double{g.data[i]} * g.data[i];
    w2 += double{w.data[i]} * w.data[i];
  }
  const float rate = clipped_rate(squares, w2, w.size(), o);
  const auto decay = static_cast<float>(o.lr * o.decay);
  for (std::int64_t i = 0; i < w.size(); ++i) w.data[i] -= rate * g.data[i] + decay * w.data[i];
  return norm2;
}

// One matrix (1804.04235, algorithm 4, beta1 = 0, given rate): with s = g^2 + epsilon,
// r = b2 r + (1 - b2) mean_j s, c = b2 c + (1 - b2) mean_i s, u = g / sqrt(r c / mean(r)).
// w, g: [rows, cols], r: [rows, 1], c: [1, cols].
double factored_step(const Team& team, const Floats& w, const Floats& g, const Floats& r,
                     const Floats& c, float factor, const Adafactor& o, float* memory) {
  check_shape(r, w.rows, 1, "adafactor rows");
  check_shape(c, 1, w.cols, "adafactor columns");
  check_dense(r, "adafactor rows");
  const std::int64_t tile = tile_rows(w.cols), tiles = ceil_div(w.rows, tile);
  // By row: sums, then factors a. By column: factors b. By tile: sums of columns, of u^2; then by
  // chunk: of w^2.
  const Floats a(memory, w.rows, 1);
  const Floats b(a.data + w.rows, 1, w.cols), cols(b.data + w.cols, tiles, w.cols);
  float* const squares = cols.data + cols.size();
  const auto sums = MOEBIUS_DISPATCH(square_sums);
  const auto norm = MOEBIUS_DISPATCH(update_norm);
  const auto subtract = MOEBIUS_DISPATCH(subtract_update);
  // 1. Sums of the squared gradient.
  team.ranges(w.rows, tile, [&](std::int64_t begin, std::int64_t end) {
    sums(g.slice(begin, end), factor, a.slice(begin, end), cols.row(begin / tile));
  });
  const double norm2 = total(a.data, w.rows);
  // 2. Running averages.
  for (std::int64_t i = 1; i < tiles; ++i)
    for (std::int64_t j = 0; j < w.cols; ++j) cols.data[j] += cols.row(i)[j];
  const auto follow = MOEBIUS_DISPATCH(follow);
  const auto inverse_roots = MOEBIUS_DISPATCH(inverse_roots);
  const float mean = follow(r.data, a.data, w.rows, w.cols, o) / static_cast<float>(w.rows);
  follow(c.data, cols.data, w.cols, w.rows, o);
  inverse_roots(r.data, w.rows, mean, factor, a.data);
  inverse_roots(c.data, w.cols, 1, 1, b.data);
  // 3. Update.
  team.ranges(w.rows, tile, [&](std::int64_t begin, std::int64_t end) {
    squares[begin / tile] = norm(g.slice(begin, end), a.data + begin, b.data);
  });
  const double u2 = total(squares, tiles);
  const double w2 = o.least_scale > 0 ? sum_of_squares(team, w, squares) : 0;
  const float rate = clipped_rate(u2, w2, w.size(), o);
  team.ranges(w.rows, tile, [&](std::int64_t begin, std::int64_t end) {
    subtract(w.slice(begin, end), g.slice(begin, end), a.data + begin, b.data, rate,
             static_cast<float>(o.lr * o.decay));
  });
  return norm2;
}

}  // namespace

std::int64_t update_scratch(std::int64_t rows, std::int64_t cols) {
  return rows + cols + ceil_div(rows, tile_rows(cols)) * (cols + 1) +
         sum_of_squares_scratch(rows * cols);
}

std::int64_t sum_of_squares_scratch(std::int64_t count) { return ceil_div(count, kChunk); }

double sum_of_squares(const Team& team, const Floats& g, float* memory) {
  const auto kernel = MOEBIUS_DISPATCH(sum_of_squares);
  team.ranges(g.size(), kChunk, [&](std::int64_t begin, std::int64_t end) {
    memory[begin / kChunk] = kernel(g.data + begin, end - begin);
  });
  return total(memory, sum_of_squares_scratch(g.size()));
}

double apply_update(const Team& team, const Floats& w, const Floats& g, const MatrixUpdate& update,
                    float factor, float* memory) {
  if (const auto* rule = std::get_if<AdamW>(&update.rule))
    return adamw_step(team, w, g, update.first, update.second, factor, *rule, memory);
  const auto& rule = std::get<Adafactor>(update.rule);
  if (update.second.empty()) return full_step(w, g, update.first, factor, rule);
  return factored_step(team, w, g, update.first, update.second, factor, rule, memory);
}

void Cpu::squared_norm(Weight w, View sum) {
  std::optional<double> norm2 = norms_.at(static_cast<std::size_t>(w.slot));
  if (!norm2) {
    const Floats g = params_->gradient(w);
    norm2 = sum_of_squares(crew_, g, crew_.shared(sum_of_squares_scratch(g.size())));
  }
  *Doubles(sum).row(0) += *norm2;
}

void Cpu::apply(Weight weight, const Update& update, View norm2, double clip) {
  const View w = params_->value(weight), g = params_->gradient(weight);
  const ParamSlot& s = slot(weight);
  const float factor = clip_factor(norm2, clip);
  const auto each = [&](const Team& team, std::int64_t e, float* memory) {
    apply_update(team, of_expert(w, s, e), of_expert(g, s, e), of_expert(update, s, e), factor,
                 memory);
  };
  crew_.matrices(s.batch, update_scratch(s.rows, s.cols), each);
}

}  // namespace moebius::cpu
#endif  // HWY_ONCE
