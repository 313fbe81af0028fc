#include "model/backends/cpu/parallel.h"

#include <sys/mman.h>
#include <tbb/parallel_for.h>
#include <tbb/task_arena.h>

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

void Team::spread(std::int64_t tiles, const std::function<void(std::int64_t)>& work) {
  // Isolated: a thread that waits for the last tile must not pick up another trial meanwhile.
  tbb::this_task_arena::isolate(
      [&] { tbb::parallel_for(std::int64_t{0}, tiles, work, tbb::simple_partitioner()); });
}

}  // namespace moebius::cpu
