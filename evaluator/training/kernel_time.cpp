#include "evaluator/training/kernel_time.h"

#include <algorithm>
#include <array>
#include <new>
#include <vector>

#include "evaluator/training/step_time.h"
#include "model/gradients.h"
#include "model/numbers.h"
#include "space/base/rng.h"

namespace moebius {
namespace {

constexpr std::int64_t kWarmUp = 2;

template <class Call>
double median_seconds(int repeats, const Call& call) {
  std::vector<double> seconds;
  for (int i = 0; i < kWarmUp + repeats; ++i) {
    const double start = wall_seconds();
    call();
    if (i >= kWarmUp) seconds.push_back(wall_seconds() - start);
  }
  const auto middle = seconds.begin() + std::ssize(seconds) / 2;
  std::nth_element(seconds.begin(), middle, seconds.end());
  return *middle;
}

View empty_matrix(Backend& backend, Dtype dtype, std::int64_t rows, std::int64_t cols) {
  std::byte* const data = backend.memory.allocate(rows * cols * size_of(dtype));
  if (data == nullptr) throw std::bad_alloc();
  return {data, dtype, rows, cols, cols};
}

// Of an operand: numbers in [-0.5, 0.5) with at most eight bits, so that they are the same in bf16.
View random_matrix(Backend& backend, std::int64_t rows, std::int64_t cols, std::uint64_t seed) {
  const View view = empty_matrix(backend, backend.operand(), rows, cols);
  std::vector<double> values(static_cast<std::size_t>(rows * cols));
  Rng rng(seed);
  for (double& value : values) value = static_cast<double>(rng.below(256)) / 256 - 0.5;
  write_numbers(backend.memory, view, values);
  return view;
}

}  // namespace

double attention_seconds(Backend& backend, const AttentionShape& shape, int repeats) {
  const Params none;
  GradientCount gradients(none);
  backend.bind(none, gradients);
  const std::int64_t rows = shape.batch * shape.seq, cols = shape.heads * shape.head_dim;
  std::array<View, 4> in;  // q, k, v, do
  for (std::size_t i = 0; i < in.size(); ++i) in[i] = random_matrix(backend, rows, cols, i + 1);
  std::array<View, 4> out;  // o, dq, dk, dv
  for (View& view : out) view = empty_matrix(backend, backend.operand(), rows, cols);
  const View lse = empty_matrix(backend, Dtype::F32, rows, shape.heads);
  return median_seconds(repeats, [&] {
    backend.attention.attend(shape, in[0], in[1], in[2], {}, out[0], lse);
    backend.attention.attend_backward(shape, in[0], in[1], in[2], {}, out[0], lse, in[3], out[1],
                                      out[2], out[3]);
  });
}

double adamw_seconds(Backend& backend, std::int64_t parameters, int repeats) {
  constexpr std::int64_t kCols = 1024;
  const std::int64_t rows = std::max<std::int64_t>(1, parameters / kCols);
  Params params;
  const Weight w =
      params.declare({.name = "w", .rows = rows, .cols = kCols, .init = Init::normal(1)});
  std::byte* const values = backend.memory.allocate(params.value_size() * size_of(Dtype::F32));
  std::byte* const gradients =
      backend.memory.allocate(params.gradient_size() * size_of(Dtype::F32));
  if (values == nullptr || gradients == nullptr) throw std::bad_alloc();
  params.attach(Dtype::F32, values, gradients);
  GradientCount counted(params);
  backend.bind(params, counted);
  backend.memory.initialise(params.value(w), params.slot(w), derive_key(1, "w"));
  const View m = empty_matrix(backend, Dtype::F32, rows, kCols);
  const View v = empty_matrix(backend, Dtype::F32, rows, kCols);
  const View norm2 = empty_matrix(backend, Dtype::F64, 1, 1);
  backend.memory.fill(params.gradient(w), 1e-3);
  const AdamW adamw = {.lr = 1e-3,
                       .beta1 = 0.9,
                       .beta2 = 0.95,
                       .epsilon = 1e-8,
                       .decay = 0.1,
                       .correction1 = 1,
                       .correction2 = 1};
  return median_seconds(repeats, [&] {
    backend.update.apply(w, {adamw, std::array{m, v}}, norm2, 0);
  });
}

}  // namespace moebius
