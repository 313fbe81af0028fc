#include "model/backends/shared.h"

#include <algorithm>
#include <cmath>
#include <numbers>

#include "space/base/rng.h"

namespace moebius {
namespace {

struct NormalPair {
  double even, odd;
};

// Box-Muller; the radius takes u in (0, 1] so that its logarithm is finite.
NormalPair normal_pair(std::uint64_t key, std::uint64_t pair) {
  const auto bits = philox(key, pair);
  const std::uint64_t a = (std::uint64_t{bits[1]} << 32) | bits[0];
  const std::uint64_t b = (std::uint64_t{bits[3]} << 32) | bits[2];
  const double u = static_cast<double>((a >> 11) + 1) * 0x1p-53;
  const double angle = 2 * std::numbers::pi * (static_cast<double>(b >> 11) * 0x1p-53);
  const double radius = std::sqrt(-2 * std::log(u));
  return {radius * std::cos(angle), radius * std::sin(angle)};
}

}  // namespace

std::int64_t relative_bucket(std::int64_t n) {
  constexpr std::int64_t kExact = kRelativeBuckets / 2, kDistance = 128;
  if (n < kExact) return n;
  const double octaves =
      std::log(static_cast<double>(n) / kExact) / std::log(static_cast<double>(kDistance) / kExact);
  return std::min(kRelativeBuckets - 1, kExact + static_cast<std::int64_t>(octaves * kExact));
}

template <class T>
void initial_values(const ParamSlot& slot, std::uint64_t key, std::int64_t begin, std::int64_t end,
                    T* out) {
  switch (slot.init.kind) {
    case Init::Kind::Constant:
      std::fill(out, out + (end - begin), static_cast<T>(slot.init.value));
      return;
    case Init::Kind::FirstRowOne:
      for (std::int64_t i = begin; i < end; ++i)
        out[i - begin] = (i / slot.cols) % slot.rows == 0 ? T{1} : T{0};
      return;
    case Init::Kind::Normal:
      for (std::int64_t i = begin - begin % 2; i < end; i += 2) {
        const NormalPair z = normal_pair(key, static_cast<std::uint64_t>(i / 2));
        if (i >= begin) out[i - begin] = static_cast<T>(slot.init.value * z.even);
        if (i + 1 < end) out[i + 1 - begin] = static_cast<T>(slot.init.value * z.odd);
      }
      return;
  }
}
template void initial_values(const ParamSlot&, std::uint64_t, std::int64_t, std::int64_t, float*);
template void initial_values(const ParamSlot&, std::uint64_t, std::int64_t, std::int64_t, double*);

void ProductLog::push(const Operation& product) {
  if (stale_) list_.clear();
  stale_ = false;
  list_.push_back(product);
}

void ProductLog::dense(std::int64_t rows, const ParamSlot& w) {
  push(Matmul{.rows = rows, .n = w.cols, .k = w.rows});
}

void ProductLog::experts(std::int64_t pairs, const ParamSlot& w) {
  push(Matmul{.rows = pairs, .n = w.cols, .k = w.rows, .batch = w.batch});
}

void ProductLog::attention(const AttentionShape& shape, int times) {
  for (int i = 0; i < times; ++i)
    push(Attention{shape.batch, shape.seq, shape.heads, shape.head_dim});
}

}  // namespace moebius
