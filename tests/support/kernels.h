#pragma once
#include <gmock/gmock.h>

#include <bit>
#include <cmath>
#include <cstdint>
#include <memory>
#include <numeric>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "space/base/rng.h"
#include "tests/support/catalog.h"

namespace moebius::testing_support {

// The nearest number that bf16 holds, ties to even; a NaN stays one.
inline float to_bf16(double value) {
  const auto bits = std::bit_cast<std::uint32_t>(static_cast<float>(value));
  if (std::isnan(value)) return std::bit_cast<float>((bits | 0x400000u) & 0xffff0000u);
  return std::bit_cast<float>((bits + 0x7fffu + (bits >> 16 & 1u)) & 0xffff0000u);
}

// EXPECT_THAT(numbers, near(1e-15, {1, 2})): each within the absolute error.
inline auto near(double error, const std::vector<double>& expected) {
  return ::testing::Pointwise(::testing::DoubleNear(error), expected);
}

// One back-end of the catalog with parameters and buffers for a kernel test. Numbers go in and out
// as double through Backend::write and read, whatever the dtype, so that every back-end fits.
// Gradients start at kBefore instead of zero, so that a kernel that overwrites them is caught.
class Kernels {
 public:
  static constexpr double kBefore = 1;

  explicit Kernels(const std::string& name = "reference", const std::string& precision = "f64",
                   int threads = 1)
      : backend_(builtin_catalog().backends.get(name).make(
            {.precision = precision, .threads = threads})) {}

  Backend* operator->() { return backend_.get(); }
  Backend& backend() { return *backend_; }

  // Declare everything first, then attach().
  Weight declare(const std::string& name, std::int64_t rows, std::int64_t cols,
                 std::int64_t batch = 1, Role role = Role::Hidden, Init init = {}) {
    ParamSlot slot;
    slot.name = name;
    slot.batch = batch;
    slot.rows = rows;
    slot.cols = cols;
    slot.role = role;
    slot.init = init;
    return params_.declare(std::move(slot));
  }
  // Allocates and binds; trained values are N(0, 1), gradients kBefore, State zero.
  void attach(std::uint64_t seed = 7) {
    const auto bytes = size_of(backend_->dtype());
    params_.attach(backend_->dtype(), backend_->memory.allocate(params_.value_size() * bytes),
                   backend_->memory.allocate((params_.gradient_size() + 1) * bytes));
    backend_->bind(params_, gradients_);
    for (int i = 0; i < static_cast<int>(params_.slots().size()); ++i) {
      gradients_.came.insert(i);
      if (!is_trained(params_.slot({i}).role)) continue;
      write(params_.value({i}), normals(params_.value({i}).size(), derive_key(seed, "values", i)));
      write(params_.gradient({i}), constant(params_.gradient({i}).size(), kBefore));
    }
    backend_->memory.weights_changed();
  }
  const Params& params() const { return params_; }
  // A step begins: the first contribution to each weight overwrites what is there.
  void begin_step() { gradients_.came.clear(); }
  View value(Weight w) const { return params_.value(w); }
  std::vector<double> gradient(Weight w) { return read(params_.gradient(w), kBefore); }

  View buffer(Dtype dtype, std::int64_t rows, std::int64_t cols) {
    return {backend_->memory.allocate(rows * cols * size_of(dtype) + 1), dtype, rows, cols, cols};
  }
  View matrix(std::int64_t rows, std::int64_t cols, double value = 0) {
    return matrix(rows, cols, constant(rows * cols, value));
  }
  View matrix(std::int64_t rows, std::int64_t cols, const std::vector<double>& values) {
    const View view = buffer(backend_->dtype(), rows, cols);
    write(view, values);
    return view;
  }
  View random(std::int64_t rows, std::int64_t cols, std::uint64_t seed) {
    return matrix(rows, cols, normals(rows * cols, seed));
  }
  View indices(const std::vector<std::int32_t>& values) {
    const View view = buffer(Dtype::I32, static_cast<std::int64_t>(values.size()), 1);
    backend_->memory.write(view, values.data());
    return view;
  }
  Routing routing(std::int64_t bound, std::int64_t tokens, std::int64_t experts,
                  std::int64_t choices) {
    return {.offset = buffer(Dtype::I32, experts + 1, 1),
            .token = buffer(Dtype::I32, bound, 1),
            .weight = matrix(bound, 1),
            .choice = buffer(Dtype::I32, tokens, choices),
            .row = buffer(Dtype::I32, tokens, choices),
            .expected = bound};
  }

  // The numbers of a view, less `before`.
  std::vector<double> read(View view, double before = 0) {
    std::vector<double> result(static_cast<std::size_t>(view.size()));
    const auto convert = [&](auto element) {
      std::vector<decltype(element)> raw(result.size());
      backend_->memory.read(view, raw.data());
      for (std::size_t i = 0; i < raw.size(); ++i) result[i] = double(raw[i]) - before;
    };
    if (view.dtype == Dtype::F64) convert(double{});
    if (view.dtype == Dtype::F32) convert(float{});
    if (view.dtype == Dtype::I32) convert(std::int32_t{});
    if (view.dtype == Dtype::BF16) {
      std::vector<std::uint16_t> raw(result.size());
      backend_->memory.read(view, raw.data());
      for (std::size_t i = 0; i < raw.size(); ++i)
        result[i] = std::bit_cast<float>(std::uint32_t{raw[i]} << 16) - before;
    }
    return result;
  }
  void write(View view, const std::vector<double>& values) {
    MOEBIUS_CHECK(static_cast<std::int64_t>(values.size()) == view.size(),
                  "[kernels] {} values for [{}, {}]", values.size(), view.rows, view.cols);
    if (view.dtype == Dtype::F64) return backend_->memory.write(view, values.data());
    const std::vector<float> narrow(values.begin(), values.end());
    if (view.dtype == Dtype::F32) return backend_->memory.write(view, narrow.data());
    std::vector<std::uint16_t> halves;
    for (const float value : narrow)
      halves.push_back(
          static_cast<std::uint16_t>(std::bit_cast<std::uint32_t>(to_bf16(value)) >> 16));
    backend_->memory.write(view, halves.data());
  }
  // sum_i y_i r_i: turns outputs into the scalar whose gradient is checked with dy = r.
  double dot(View y, View r) {
    const auto a = read(y), b = read(r);
    return std::inner_product(a.begin(), a.end(), b.begin(), 0.0);
  }

  static std::vector<double> constant(std::int64_t count, double value) {
    return std::vector<double>(static_cast<std::size_t>(count), value);
  }
  static std::vector<double> normals(std::int64_t count, std::uint64_t seed) {
    Rng rng(seed);
    std::vector<double> values(static_cast<std::size_t>(count));
    for (double& value : values) value = rng.normal();
    return values;
  }

 private:
  // Before the first step, contributions add to what is there.
  struct Steps final : GradientSink {
    Contribution next(Weight w, Producer) override { return {.first = came.insert(w.slot).second}; }
    std::set<int> came;
  };

  std::unique_ptr<Backend> backend_;
  Steps gradients_;
  Params params_;
};

}  // namespace moebius::testing_support
