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
// floats between an aligned address and the first element.
struct Conditions {
  int threads = 1;
  std::int64_t pad = 0, shift = 0;
};

// Kernels with buffers of chosen layout. A script makes its inputs, calls kernels and shows the
// outputs; the same script on two back-ends shows comparable numbers.
class Lab {
 public:
  Lab(const std::string& backend, const Conditions& conditions)
      : kernels_(backend, "fp32", conditions.threads), conditions_(conditions) {}

  Kernels& kernels() { return kernels_; }
  Backend* operator->() { return &kernels_.backend(); }

  // N(0, 1) times scale, other numbers for every call.
  View random(std::int64_t rows, std::int64_t cols, double scale = 1) {
    std::vector<double> values = Kernels::normals(rows * cols, ++seed_);
    for (double& value : values) value *= scale;
    return matrix(rows, cols, values);
  }
  View matrix(std::int64_t rows, std::int64_t cols, const std::vector<double>& values) {
    const View view = blank(rows, cols);
    kernels_.write(view, values);
    return view;
  }
  // For what a kernel overwrites: a NaN that is read or left behind shows.
  View nan(std::int64_t rows, std::int64_t cols) {
    return matrix(rows, cols, Kernels::constant(rows * cols, std::nan("")));
  }

  void show(View view) { shown_.push_back(kernels_.read(view)); }
  void show_gradients() {
    for (int i = 0; i < static_cast<int>(kernels_.params().slots().size()); ++i)
      if (kernels_.params().slot({i}).role != Role::State) show(kernels_.params().gradient({i}));
  }
  void show_values() {
    for (int i = 0; i < static_cast<int>(kernels_.params().slots().size()); ++i)
      show(kernels_.params().value({i}));
  }
  const std::vector<std::vector<double>>& shown() const { return shown_; }

 private:
  View blank(std::int64_t rows, std::int64_t cols) {
    const std::int64_t ld = cols + conditions_.pad;
    const View all = kernels_.buffer(Dtype::F32, 1, rows * ld + conditions_.shift);
    return {all.data + conditions_.shift * size_of(Dtype::F32), Dtype::F32, rows, cols, ld};
  }

  Kernels kernels_;
  Conditions conditions_;
  std::uint64_t seed_ = 0;
  std::vector<std::vector<double>> shown_;
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

// `cpu` shows what `reference` shows, to `tolerance` of the largest number of each tensor; the same
// bits for 1, 2 and 4 threads and at any address; and it agrees as well on rows that lie apart.
inline void expect_agreement(const Script& script, double tolerance = 1e-5) {
  const auto expected = run(script, "reference"), got = run(script, "cpu");
  ASSERT_FALSE(expected.empty());
  ASSERT_EQ(got.size(), expected.size());
  const auto apart = run(script, "cpu", {.threads = 2, .pad = 5, .shift = 1});
  for (std::size_t i = 0; i < expected.size(); ++i) {
    ASSERT_EQ(got[i].size(), expected[i].size());
    EXPECT_LE(distance(got[i], expected[i]), tolerance) << "output " << i;
    EXPECT_LE(distance(apart[i], expected[i]), tolerance) << "output " << i << ", rows apart";
  }
  for (const Conditions& conditions :
       {Conditions{.threads = 2}, {.threads = 4}, {.threads = 1, .shift = 1}, {.shift = 7}})
    EXPECT_EQ(run(script, "cpu", conditions), got)
        << conditions.threads << " threads, shift " << conditions.shift;
}

}  // namespace moebius::testing_support
