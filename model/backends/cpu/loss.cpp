#include <cmath>

#include "model/backends/cpu/cpu.h"
#include "model/backends/cpu/workspace.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "model/backends/cpu/loss.cpp"
#include "model/backends/cpu/foreach_level.h"  // includes this file once per instruction level

#include "model/backends/cpu/simd-inl.h"

HWY_BEFORE_NAMESPACE();
namespace moebius::cpu::N_LEVEL {

// dz = scale (softmax(z) - onehot(target)) from e = exp(z - max z), in the memory of e: bf16 is
// written behind what is still to be read.
template <class T>
void slope_row(const float* e, std::int64_t n, float total, std::int64_t target, float scale,
               T* dz) {
  const float share = scale / total;
  const Vec hit = all(share * e[target] - scale);
  each(n, [&](auto part, std::int64_t v)
              HWY_ATTR { part.store(hn::Mul(part.load(e + v), all(share)), dz + v); });
  Tail{1}.store(hit, dz + target);
}

// loss = logsumexp(z) - z[target]; with `backward`, z -> dz of type `operand`. A row stays in L2
// over the passes: a single one for maximum and sum would have to compute exponentials twice
// (measured: a third slower at V 256, 5% at V 32000).
void loss_rows(const Floats& z, const Ints& target, float scale, const Doubles& loss, bool backward,
               Dtype operand) {
  for (std::int64_t t = 0; t < z.rows; ++t) {
    float* const row = z.row(t);
    const std::int64_t id = *target.row(t);
    const double hit = row[id];
    const float top = maximum(row, z.cols);
    Vec sum = zero();
    each(z.cols, [&](auto part, std::int64_t v) HWY_ATTR {
      const Vec e = part.keep(exp_of(hn::Sub(part.load(row + v), all(top))), 0);
      sum = hn::Add(sum, e);
      part.store(e, row + v);
    });
    const float total = sum_of(sum);
    *loss.row(t) = double{top} + std::log(double{total}) - hit;
    if (!backward) continue;
    typed(operand,
          [&]<class T>() { slope_row(row, z.cols, total, id, scale, reinterpret_cast<T*>(row)); });
  }
}

}  // namespace moebius::cpu::N_LEVEL
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace moebius::cpu {
namespace {

MOEBIUS_EXPORT(loss_rows);

// Rows whose logits are in memory at a time. Those of a byte vocabulary stay in L2 when they are
// few. Larger ones do not, so then few chunks count, as each packs the table again: as many rows as
// 128 MiB hold (measured at V 256, 1024, 4096 and 32000).
std::int64_t chunk_rows(std::int64_t vocab) {
  constexpr std::int64_t kBytes = 256, kLogits = 32 << 20;
  return vocab <= kBytes ? 512 : std::clamp<std::int64_t>(kLogits / vocab, 256, 2048);
}

// From one row of logits to the next: an odd number of cache lines, so that the same columns of
// many rows spread over all of a cache.
std::int64_t row_stride(std::int64_t vocab) {
  constexpr std::int64_t kLine = 16;  // floats
  return (ceil_div(vocab, kLine) | 1) * kLine;
}

}  // namespace

std::int64_t loss_scratch(std::int64_t tokens, std::int64_t vocab) {
  return std::min(chunk_rows(vocab), tokens) * row_stride(vocab);
}

void Cpu::cross_entropy(View h, Weight table_weight, View target_view, double scale, View loss_view,
                        View dh) {
  const View table = params_->value(table_weight);
  const Ints target = target_view;
  const Doubles loss = loss_view;
  const bool backward = !dh.empty();
  check_shape(h, target.rows, table.cols, "cross_entropy h");
  check_shape(loss, h.rows, 1, "cross_entropy loss");
  if (backward) check_shape(dh, h.rows, h.cols, "cross_entropy dh");
  for (std::int64_t t = 0; t < target.rows; ++t)
    MOEBIUS_CHECK(*target.row(t) >= 0 && *target.row(t) < table.rows,
                  "[cross_entropy] target {} of {}", *target.row(t), table.rows);

  const auto kernel = MOEBIUS_DISPATCH(loss_rows);
  const std::int64_t chunk = chunk_rows(table.rows);
  float* const memory = crew_.shared(loss_scratch(h.rows, table.rows));
  const bool overwrite = backward && contribution(table_weight, Producer::Other).first;
  for (std::int64_t first = 0; first < h.rows; first += chunk) {
    const std::int64_t last = std::min(h.rows, first + chunk);
    const View x = rows(h, first, last);
    Floats z(memory, last - first, table.rows);
    z.ld = row_stride(table.rows);
    // 1. Logits.
    product(crew_, x, transpose(table), z.view(), {.operand = operand_});
    // 2. Losses and dlogits, in place: as operands they are half as much to read, twice.
    crew_.rows(z.rows, z.cols, [&](std::int64_t begin, std::int64_t end) {
      kernel(z.slice(begin, end), target.slice(first + begin, first + end),
             static_cast<float>(scale), loss.slice(first + begin, first + end), backward, operand_);
    });
    if (!backward) continue;
    // 3. dh = dz table, dtable += dz^T h.
    View dz = z.view();
    if (operand_ == Dtype::BF16) dz = {dz.data, operand_, z.rows, z.cols, 2 * z.ld};
    product(crew_, dz, table, rows(dh, first, last), {.operand = operand_});
    product(crew_, transpose(dz), x, params_->gradient(table_weight),
            {.operand = operand_, .accumulate = !overwrite || first > 0});
  }
}

}  // namespace moebius::cpu
#endif  // HWY_ONCE
