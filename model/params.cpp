#include "model/params.h"

#include <utility>

namespace moebius {

// 64 bytes of f32: the first element of every slot is aligned for SIMD.
constexpr std::int64_t kSlotAlignment = 16;

namespace {
std::int64_t padded(const ParamSlot& slot) {
  return (slot.size() + kSlotAlignment - 1) / kSlotAlignment * kSlotAlignment;
}
}  // namespace

Weight Params::declare(ParamSlot slot) {
  MOEBIUS_CHECK(slot.batch > 0 && slot.rows > 0 && slot.cols > 0,
                "[params] '{}' has shape [{}, {}, {}]", slot.name, slot.batch, slot.rows,
                slot.cols);
  MOEBIUS_CHECK(values_ == nullptr, "[params] '{}' is declared after attach()", slot.name);
  MOEBIUS_CHECK(names_.insert(slot.name).second, "[params] '{}' is declared twice", slot.name);

  slot.value_offset = value_size_;
  value_size_ += padded(slot);
  if (is_trained(slot.role)) {
    slot.gradient_offset = gradient_size_;
    gradient_size_ += padded(slot);
  }
  slots_.push_back(std::move(slot));
  return {static_cast<int>(slots_.size()) - 1};
}

void Params::drop_gradient(Weight weight) {
  MOEBIUS_CHECK(values_ == nullptr, "[params] a gradient is dropped after attach()");
  ParamSlot& dropped = slots_.at(static_cast<std::size_t>(weight.slot));
  if (dropped.gradient_offset < 0) return;
  const std::int64_t size = padded(dropped);
  for (ParamSlot& slot : slots_)
    if (slot.gradient_offset > dropped.gradient_offset) slot.gradient_offset -= size;
  dropped.gradient_offset = -1;
  gradient_size_ -= size;
}

void Params::attach(Dtype dtype, std::byte* values, std::byte* gradients) {
  dtype_ = dtype;
  values_ = values;
  gradients_ = gradients;
}

View Params::value(Weight weight) const {
  const ParamSlot& it = slot(weight);
  MOEBIUS_CHECK(values_ != nullptr, "[params] value of '{}' before attach()", it.name);
  return {values_ + it.value_offset * size_of(dtype_), dtype_, it.batch * it.rows, it.cols,
          it.cols};
}

View Params::gradient(Weight weight) const {
  const ParamSlot& it = slot(weight);
  MOEBIUS_CHECK(it.gradient_offset >= 0, "[params] no gradient of '{}' is kept", it.name);
  MOEBIUS_CHECK(gradients_ != nullptr, "[params] gradient of '{}', but none are attached", it.name);
  return {gradients_ + it.gradient_offset * size_of(dtype_), dtype_, it.batch * it.rows, it.cols,
          it.cols};
}

std::int64_t Params::trained() const {
  std::int64_t sum = 0;
  for (const ParamSlot& slot : slots_)
    if (is_trained(slot.role)) sum += slot.size();
  return sum;
}

}  // namespace moebius
