#include "model/backends/cpu/scratch.h"

#include <sys/mman.h>

#include <new>

namespace moebius::cpu {
namespace {

constexpr std::size_t kHugePage = 2 << 20;

}

void Scratch::grow(std::int64_t count) {
  const auto bytes = static_cast<std::size_t>(round_up(count * std::int64_t{sizeof(float)}, 64));
  const bool huge = bytes >= kHugePage;
  memory_.reset();
  memory_.reset(static_cast<float*>(std::aligned_alloc(
      huge ? kHugePage : 64, huge ? (bytes + kHugePage - 1) / kHugePage * kHugePage : bytes)));
  if (memory_ == nullptr) throw std::bad_alloc();
  if (huge) madvise(memory_.get(), bytes, MADV_HUGEPAGE);
  capacity_ = count;
}

}  // namespace moebius::cpu
