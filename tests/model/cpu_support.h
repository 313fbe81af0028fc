#pragma once
#include <algorithm>
#include <cmath>
#include <functional>
#include <limits>
#include <string>
#include <vector>

#include "tests/support/kernels.h"

namespace moebius::testing_support {

// Where and by whom a script is run: threads, columns between the rows of a matrix and the next,
// elements between an aligned address and the first element, the type of operands.
struct Conditions {
  int threads = 1;
  std::int64_t pad = 0, shift = 0;
  Dtype operand = Dtype::F32;
};

// Kernels with buffers of chosen layout. A script makes its inputs, calls kernels and shows the
// outputs; the same script on two back-ends shows comparable numbers.
class Lab {
 public:
  Lab(const std::string& backend, const Conditions& conditions)
      : kernels_(backend, backend == "cpu" && conditions.operand == Dtype::BF16 ? "bf16" : "fp32",
                 conditions.threads),
        conditions_(conditions) {}

  Kernels& kernels() { return kernels_; }
  Backend* operator->() { return &kernels_.backend(); }

  // N(0, 1) times scale, other numbers for every call.
  View random(std::int64_t rows, std::int64_t cols, double scale = 1) {
    std::vector<double> values = Kernels::normals(rows * cols, ++seed_);
    for (double& value : values) value *= scale;
    return matrix(rows, cols, values);
  }
  View matrix(std::int64_t rows, std::int64_t cols, const std::vector<double>& values) {
    const View view = blank(Dtype::F32, rows, cols);
    kernels_.write(view, values);
    return view;
  }
  // The same as an operand: numbers that bf16 holds, where operands are bf16.
  View operand(std::int64_t rows, std::int64_t cols, double scale = 1) {
    std::vector<double> values = Kernels::normals(rows * cols, ++seed_);
    for (double& value : values) {
      value *= scale;
      if (conditions_.operand == Dtype::BF16) value = to_bf16(value);
    }
    return operand_of(rows, cols, values);
  }
  View operand_nan(std::int64_t rows, std::int64_t cols) {
    return operand_of(rows, cols, Kernels::constant(rows * cols, std::nan("")));
  }
  bool has_operands() const { return has_operands_; }
  // For what a kernel overwrites: a NaN that is read or left behind shows.
  View nan(std::int64_t rows, std::int64_t cols) {
    return matrix(rows, cols, Kernels::constant(rows * cols, std::nan("")));
  }

  void show(View view) {
    shown_.push_back(kernels_.read(view));
    cols_.push_back(view.cols);
  }
  // Sums whose terms may cancel: their error counts relative to `size`, which no sum exceeds.
  void show_sums(View view, double size) {
    show(view);
    shown_.back().push_back(size);
    cols_.back() = 0;
  }
  void show_gradients() {
    for (int i = 0; i < static_cast<int>(kernels_.params().slots().size()); ++i)
      if (is_trained(kernels_.params().slot({i}).role)) show(kernels_.params().gradient({i}));
  }
  void show_values() {
    for (int i = 0; i < static_cast<int>(kernels_.params().slots().size()); ++i)
      show(kernels_.params().value({i}));
  }
  const std::vector<std::vector<double>>& shown() const { return shown_; }
  // Numbers in a row of each; 0: its rows may be anything beside the rest.
  const std::vector<std::int64_t>& cols() const { return cols_; }

 private:
  View blank(Dtype dtype, std::int64_t rows, std::int64_t cols) {
    const std::int64_t ld = cols + conditions_.pad;
    const View all = kernels_.buffer(dtype, 1, rows * ld + conditions_.shift);
    return {all.data + conditions_.shift * size_of(dtype), dtype, rows, cols, ld};
  }
  View operand_of(std::int64_t rows, std::int64_t cols, const std::vector<double>& values) {
    has_operands_ = true;
    const View view = blank(kernels_.backend().operand(), rows, cols);
    kernels_.write(view, values);
    return view;
  }

  Kernels kernels_;
  Conditions conditions_;
  std::uint64_t seed_ = 0;
  bool has_operands_ = false;
  std::vector<std::vector<double>> shown_;
  std::vector<std::int64_t> cols_;
};

using Script = std::function<void(Lab&)>;

inline std::vector<std::vector<double>> run(const Script& script, const std::string& backend,
                                            const Conditions& conditions = {}) {
  Lab lab(backend, conditions);
  script(lab);
  return lab.shown();
}

// max_i |a_i - b_i| / max_i |b_i|; NaN in either counts as infinite.
inline double distance(const std::vector<double>& a, const std::vector<double>& b) {
  double error = 0, largest = 0;
  for (std::size_t i = 0; i < b.size(); ++i) {
    const double difference = std::abs(a[i] - b[i]);
    error = std::max(error,
                     std::isnan(difference) ? std::numeric_limits<double>::infinity() : difference);
    largest = std::max(largest, std::abs(b[i]));
  }
  return error == 0 ? 0 : error / largest;
}

// The largest distance of a row of `cols` numbers from its own largest number, among rows that are
// more than `noise` of the largest of all. A small row that a kernel forgot is 1 away.
inline double row_distance(const std::vector<double>& a, const std::vector<double>& b,
                           std::int64_t cols, double noise) {
  double largest = 0, worst = 0;
  for (const double value : b) largest = std::max(largest, std::abs(value));
  const auto width = static_cast<std::size_t>(cols);
  for (std::size_t at = 0; width > 0 && at + width <= b.size(); at += width) {
    const auto row = [&](const std::vector<double>& values) {
      const auto from = values.begin() + static_cast<std::ptrdiff_t>(at);
      return std::vector<double>(from, from + cols);
    };
    const std::vector<double> expected = row(b);
    const bool counts = std::any_of(expected.begin(), expected.end(), [&](double value) {
      return std::abs(value) > noise * largest;
    });
    if (counts) worst = std::max(worst, distance(row(a), expected));
  }
  return worst;
}

inline bool takes_operands(const Script& script) {
  Lab lab("reference", {});
  script(lab);
  return lab.has_operands();
}

// Share of the tolerance below which a row may be rounding alone.
inline constexpr double kRowNoise = 0.1;

// `cpu` shows what `reference` shows, to `tolerance` of the largest number of each tensor; the same
// bits for 1, 2 and 4 threads and at any address; and it agrees as well on rows that lie apart.
// Scripts with operands do so in bf16, too, where numbers are rounded to eight bits several times.
inline void expect_agreement(const Script& script, Dtype operand, double tolerance) {
  SCOPED_TRACE(dtype_text(operand));
  const auto with = [&](int threads, std::int64_t pad, std::int64_t shift) {
    return run(script, "cpu", {threads, pad, shift, operand});
  };
  Lab reference("reference", {.operand = operand});
  script(reference);
  const auto expected = reference.shown(), got = with(1, 0, 0);
  ASSERT_FALSE(expected.empty());
  ASSERT_EQ(got.size(), expected.size());
  const auto apart = with(2, 5, 1);
  for (std::size_t i = 0; i < expected.size(); ++i) {
    ASSERT_EQ(got[i].size(), expected[i].size());
    EXPECT_LE(distance(got[i], expected[i]), tolerance) << "output " << i;
    EXPECT_LE(distance(apart[i], expected[i]), tolerance) << "output " << i << ", rows apart";
    EXPECT_LT(row_distance(got[i], expected[i], reference.cols()[i], kRowNoise * tolerance), 0.5)
        << "a row of output " << i;
  }
  EXPECT_EQ(with(2, 0, 0), got) << "2 threads";
  EXPECT_EQ(with(4, 0, 0), got) << "4 threads";
  EXPECT_EQ(with(1, 0, 1), got) << "shift 1";
  EXPECT_EQ(with(1, 0, 7), got) << "shift 7";
}
inline void expect_agreement(const Script& script, double tolerance = 1e-5,
                             double bf16_tolerance = 0.02) {
  expect_agreement(script, Dtype::F32, tolerance);
  if (takes_operands(script)) expect_agreement(script, Dtype::BF16, bf16_tolerance);
}

}  // namespace moebius::testing_support
