#include <algorithm>
#include <cmath>
#include <vector>

#include "model/backends/reference/reference.h"

namespace moebius::reference {
namespace {

// min(1, clip / sqrt(norm2)); 1 when clip <= 0.
double clip_factor(Doubles norm2, double clip) {
  return clip > 0 ? std::min(1.0, clip / std::sqrt(norm2(0, 0))) : 1.0;
}

// AdamW (1711.05101): m = b1 m + (1 - b1) g, v = b2 v + (1 - b2) g^2,
// w -= lr ((m / c1) / (sqrt(v / c2) + epsilon) + decay w). All [batch * rows, cols].
template <class T>
void adamw_step(Matrix<T> w, Matrix<T> g, Matrix<T> m, Matrix<T> v, double factor, const AdamW& o) {
  check_shape(m, w.rows, w.cols, "adamw m");
  check_shape(v, w.rows, w.cols, "adamw v");
  for (std::int64_t i = 0; i < w.rows; ++i)
    for (std::int64_t j = 0; j < w.cols; ++j) {
      const double gradient = factor * g(i, j);
      m(i, j) = T(o.beta1 * m(i, j) + (1 - o.beta1) * gradient);
      v(i, j) = T(o.beta2 * v(i, j) + (1 - o.beta2) * gradient * gradient);
      const double update =
          (m(i, j) / o.correction1) / (std::sqrt(v(i, j) / o.correction2) + o.epsilon);
      w(i, j) = T(w(i, j) - o.lr * (update + o.decay * w(i, j)));
    }
}

template <class T>
double root_mean_square(Matrix<T> w) {
  double sum = 0;
  for (std::int64_t i = 0; i < w.rows; ++i)
    for (std::int64_t j = 0; j < w.cols; ++j) sum += double(w(i, j)) * w(i, j);
  return std::sqrt(sum / static_cast<double>(w.rows * w.cols));
}

// w -= lr (scale u / max(1, RMS(u) / clip_rms) + decay w), the tail of both Adafactors; scale = 1
// or max(least_scale, RMS(w)). u: [rows * cols].
template <class T>
void apply_update(Matrix<T> w, std::vector<double>& u, const Adafactor& o) {
  double sum = 0;
  for (const double x : u) sum += x * x;
  const double rms = std::sqrt(sum / static_cast<double>(u.size()));
  const double scale = o.least_scale > 0 ? std::max(o.least_scale, root_mean_square(w)) : 1;
  const double shrink = std::max(1.0, rms / o.clip_rms) / scale;
  for (std::int64_t i = 0; i < w.rows; ++i)
    for (std::int64_t j = 0; j < w.cols; ++j) {
      const double update = u[static_cast<std::size_t>(i * w.cols + j)] / shrink;
      w(i, j) = T(w(i, j) - o.lr * (update + o.decay * w(i, j)));
    }
}

// One matrix (1804.04235, algorithm 4, beta1 = 0, given rate): with s = g^2 + epsilon,
// r = b2 r + (1 - b2) mean_j s, c = b2 c + (1 - b2) mean_i s, u = g / sqrt(r c / mean(r)).
// w, g: [rows, cols], r: [rows, 1], c: [1, cols].
template <class T>
void factored_step(Matrix<T> w, Matrix<T> g, Matrix<T> r, Matrix<T> c, double factor,
                   const Adafactor& o) {
  // 1. Means of the squared gradient.
  std::vector<double> row(static_cast<std::size_t>(w.rows)), col(static_cast<std::size_t>(w.cols));
  for (std::int64_t i = 0; i < w.rows; ++i)
    for (std::int64_t j = 0; j < w.cols; ++j) {
      const double s = std::pow(factor * g(i, j), 2) + o.epsilon;
      row[static_cast<std::size_t>(i)] += s / static_cast<double>(w.cols);
      col[static_cast<std::size_t>(j)] += s / static_cast<double>(w.rows);
    }
  // 2. Running averages.
  double mean = 0;  // of r
  for (std::int64_t i = 0; i < w.rows; ++i) {
    r(i, 0) = T(o.beta2 * r(i, 0) + (1 - o.beta2) * row[static_cast<std::size_t>(i)]);
    mean += r(i, 0) / static_cast<double>(w.rows);
  }
  for (std::int64_t j = 0; j < w.cols; ++j)
    c(0, j) = T(o.beta2 * c(0, j) + (1 - o.beta2) * col[static_cast<std::size_t>(j)]);
  // 3. Update; r / mean first, so that tiny second moments do not underflow.
  std::vector<double> u(static_cast<std::size_t>(w.rows * w.cols));
  for (std::int64_t i = 0; i < w.rows; ++i)
    for (std::int64_t j = 0; j < w.cols; ++j)
      u[static_cast<std::size_t>(i * w.cols + j)] =
          factor * g(i, j) / (std::sqrt(r(i, 0) / mean) * std::sqrt(double(c(0, j))));
  apply_update(w, u, o);
}

// A vector: the full second moment, v = b2 v + (1 - b2) (g^2 + epsilon), u = g / sqrt(v).
template <class T>
void full_step(Matrix<T> w, Matrix<T> g, Matrix<T> v, double factor, const Adafactor& o) {
  check_shape(v, w.rows, w.cols, "adafactor rows");
  std::vector<double> u(static_cast<std::size_t>(w.rows * w.cols));
  for (std::int64_t i = 0; i < w.rows; ++i)
    for (std::int64_t j = 0; j < w.cols; ++j) {
      const double gradient = factor * g(i, j);
      v(i, j) = T(o.beta2 * v(i, j) + (1 - o.beta2) * (gradient * gradient + o.epsilon));
      u[static_cast<std::size_t>(i * w.cols + j)] = gradient / std::sqrt(double(v(i, j)));
    }
  apply_update(w, u, o);
}

}  // namespace

void Reference::add_squares(View g, View sum) const {
  const Doubles total = sum;
  typed([&]<class T>() {
    const Matrix<T> m = g;
    double squares = 0;
    for (std::int64_t i = 0; i < m.rows; ++i)
      for (std::int64_t j = 0; j < m.cols; ++j) squares += double(m(i, j)) * m(i, j);
    total(0, 0) += squares;
  });
}

void Reference::squared_norm(Weight w, View sum) { add_squares(params_->gradient(w), sum); }

void Reference::step(Weight w, View g, const Update& update, double factor) const {
  typed([&]<class T>() {
    if (const auto* rule = std::get_if<AdamW>(&update.rule))
      return adamw_step<T>(value(w), g, update.state[0], update.state[1], factor, *rule);
    const auto& rule = std::get<Adafactor>(update.rule);
    const ParamSlot& s = slot(w);
    const bool full = update.state.size() == 1;
    check_shape<T>(update.state[0], s.batch * s.rows, full ? s.cols : 1, "adafactor rows");
    if (!full) check_shape<T>(update.state[1], s.batch, s.cols, "adafactor columns");
    for (std::int64_t b = 0; b < s.batch; ++b) {
      const auto part = [&](View all) { return all.row_range(b * s.rows, s.rows); };
      if (full)
        full_step<T>(part(value(w)), part(g), part(update.state[0]), factor, rule);
      else
        factored_step<T>(part(value(w)), part(g), part(update.state[0]),
                         update.state[1].row_range(b, 1), factor, rule);
    }
  });
}

void Reference::apply(Weight w, const Update& update, View norm2, double clip) {
  step(w, params_->gradient(w), update, clip_factor(norm2, clip));
}

}  // namespace moebius::reference
