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

// w -= lr (u / max(1, RMS(u) / clip_rms) + decay w), the tail of both Adafactors. u: [rows * cols].
template <class T>
void apply_update(Matrix<T> w, std::vector<double>& u, const Adafactor& o) {
  double sum = 0;
  for (const double x : u) sum += x * x;
  const double rms = std::sqrt(sum / static_cast<double>(u.size()));
  const double shrink = std::max(1.0, rms / o.clip_rms);
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

void Reference::squared_norm(Weight w, View sum) {
  const Doubles total = sum;
  typed([&]<class T>() {
    const Matrix<T> m = gradient(w);
    double squares = 0;
    for (std::int64_t i = 0; i < m.rows; ++i)
      for (std::int64_t j = 0; j < m.cols; ++j) squares += double(m(i, j)) * m(i, j);
    total(0, 0) += squares;
  });
}

void Reference::adamw(Weight w, View m, View v, View norm2, double clip, const AdamW& options) {
  typed([&]<class T>() {
    adamw_step<T>(value(w), gradient(w), m, v, clip_factor(norm2, clip), options);
  });
}

// Every matrix of a batch (every expert) is a tensor of its own. Without `columns`, a full second
// moment.
void Reference::adafactor(Weight w, View rows, View columns, View norm2, double clip,
                          const Adafactor& options) {
  const double factor = clip_factor(norm2, clip);
  const std::int64_t height = slot(w).rows;
  typed([&]<class T>() {
    if (!columns.empty()) {
      check_shape<T>(rows, slot(w).batch * height, 1, "adafactor rows");
      check_shape<T>(columns, slot(w).batch, slot(w).cols, "adafactor columns");
    }
    for (std::int64_t b = 0; b < slot(w).batch; ++b) {
      const View of_w = value(w).row_range(b * height, height);
      const View of_g = gradient(w).row_range(b * height, height);
      const View of_rows = rows.row_range(b * height, height);
      if (columns.empty())
        full_step<T>(of_w, of_g, of_rows, factor, options);
      else
        factored_step<T>(of_w, of_g, of_rows, columns.row_range(b, 1), factor, options);
    }
  });
}

}  // namespace moebius::reference
