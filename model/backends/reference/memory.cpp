#include <cstring>
#include <new>

#include "model/backends/reference/reference.h"

namespace moebius::reference {

constexpr std::align_val_t kAlignment{64};

void Reference::Free::operator()(std::byte* memory) const { ::operator delete(memory, kAlignment); }

std::byte* Reference::allocate(std::int64_t bytes) {
  const auto size = static_cast<std::size_t>(bytes);
  auto* memory = static_cast<std::byte*>(::operator new(size, kAlignment, std::nothrow));
  if (memory == nullptr) return nullptr;
  std::memset(memory, 0, size);
  memory_.emplace_back(memory);
  return memory;
}

void Reference::write(View to, const void* from) {
  const auto row_bytes = static_cast<std::size_t>(to.cols * size_of(to.dtype));
  const auto* source = static_cast<const std::byte*>(from);
  for (std::int64_t i = 0; i < to.rows; ++i, source += row_bytes)
    std::memcpy(to.row_range(i, 1).data, source, row_bytes);
}

void Reference::read(View from, void* to) {
  const auto row_bytes = static_cast<std::size_t>(from.cols * size_of(from.dtype));
  auto* target = static_cast<std::byte*>(to);
  for (std::int64_t i = 0; i < from.rows; ++i, target += row_bytes)
    std::memcpy(target, from.row_range(i, 1).data, row_bytes);
}

void Reference::bind(const Params& params, GradientSink& gradients) {
  params_ = &params;
  gradients_ = &gradients;
}

void Reference::initialise(View value, const ParamSlot& slot, std::uint64_t key) {
  typed([&]<class T>() {
    const Matrix<T> all = value;
    initial_values(slot, key, 0, slot.size(), all.data);
  });
}

View Reference::gradient(Weight w) {
  if (w.empty()) return {};
  const Contribution contribution = gradients_->next(w, Producer::Other);
  const View g = params_->gradient(w);
  if (contribution.first) fill(g, 0);
  return g;
}

}  // namespace moebius::reference
