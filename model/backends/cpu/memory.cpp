#include <hwy/highway.h>
#include <sys/mman.h>

#include <cstring>

#include "model/backends/cpu/cpu.h"

namespace moebius::cpu {

Cpu::Cpu(int threads) : crew_(threads) {
  hwy::GetChosenTarget().Update(hwy::SupportedTargets());  // before kernels fetch their functions
}

Cpu::~Cpu() {
  for (const std::span<std::byte> memory : memory_) munmap(memory.data(), memory.size());
}

// Pages of the kernel: zero, aligned, and a refusal is an answer. Huge ones save the arena's passes
// most of their TLB misses (performance.md 5.2).
std::byte* Cpu::allocate(std::int64_t bytes) {
  constexpr std::int64_t kHugePage = 2 << 20;
  const auto size = static_cast<std::size_t>(std::max<std::int64_t>(bytes, 1));
  void* const memory =
      mmap(nullptr, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (memory == MAP_FAILED) return nullptr;
  if (bytes >= kHugePage) madvise(memory, size, MADV_HUGEPAGE);
  auto* const first = static_cast<std::byte*>(memory);
  memory_.emplace_back(first, size);
  return first;
}

void Cpu::write(View to, const void* from) {
  const auto row_bytes = static_cast<std::size_t>(to.cols * size_of(to.dtype));
  const auto* source = static_cast<const std::byte*>(from);
  for (std::int64_t i = 0; i < to.rows; ++i, source += row_bytes)
    std::memcpy(to.data + i * to.ld * size_of(to.dtype), source, row_bytes);
}

void Cpu::read(View from, void* to) {
  const auto row_bytes = static_cast<std::size_t>(from.cols * size_of(from.dtype));
  auto* target = static_cast<std::byte*>(to);
  for (std::int64_t i = 0; i < from.rows; ++i, target += row_bytes)
    std::memcpy(target, from.data + i * from.ld * size_of(from.dtype), row_bytes);
}

}  // namespace moebius::cpu
