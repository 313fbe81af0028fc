#include "model/backends/cpu/parallel.h"

#include <tbb/parallel_for.h>
#include <tbb/task_arena.h>

namespace moebius::cpu {
void Team::spread(std::int64_t tiles, const std::function<void(std::int64_t)>& work) {
  // Isolated: a thread that waits for the last tile must not pick up another trial meanwhile.
  tbb::this_task_arena::isolate(
      [&] { tbb::parallel_for(std::int64_t{0}, tiles, work, tbb::simple_partitioner()); });
}

}  // namespace moebius::cpu
