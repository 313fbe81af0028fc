#pragma once
#include <tbb/enumerable_thread_specific.h>

#include <algorithm>
#include <cstdint>
#include <functional>
#include <span>

#include "model/backends/cpu/scratch.h"
#include "space/base/check.h"

namespace moebius::cpu {

// Runs the tiles of a kernel in the arena of the caller. A kernel cuts its work by shape alone and
// adds up partial results in tile order, so its bits do not depend on the number of threads.
class Team {
 public:
  explicit Team(int threads) : threads_(threads) {}
  int threads() const { return threads_; }

  // work(i) for i in [0, tiles).
  template <class Work>
  void run(std::int64_t tiles, const Work& work) const {
    if (threads_ > 1 && tiles > 1) return spread(tiles, std::cref(work));
    for (std::int64_t i = 0; i < tiles; ++i) work(i);
  }

  // work(begin, end) over [0, items) in ranges of `grain`.
  template <class Work>
  void ranges(std::int64_t items, std::int64_t grain, const Work& work) const {
    run(ceil_div(items, grain),
        [&](std::int64_t i) { work(i * grain, std::min(items, (i + 1) * grain)); });
  }

  // The same over rows of `cols` elements.
  template <class Work>
  void rows(std::int64_t count, std::int64_t cols, const Work& work) const {
    ranges(count, grain(cols), work);
  }
  static std::int64_t grain(std::int64_t cols) {
    constexpr std::int64_t kElements = 1 << 14;  // 64 KiB per operand: some microseconds
    return std::max<std::int64_t>(1, kElements / std::max<std::int64_t>(1, cols));
  }

  // Whether there are matrices enough for each thread to take whole ones.
  bool side_by_side(std::int64_t matrices) const {
    return threads_ == 1 || matrices >= 2 * threads_;
  }

 private:
  static void spread(std::int64_t tiles, const std::function<void(std::int64_t)>& work);

  int threads_;
};

// All threads of a trial, and the memory of its kernels.
class Crew : public Team {
 public:
  using Team::Team;

  // Memory of the calling thread, valid within one tile.
  float* scratch(std::int64_t floats) { return local_.local().floats(floats); }
  // The same for packed factors of a product, beside scratch().
  Scratch& packing() { return packing_.local(); }
  // Memory of one kernel call, shared by its tiles.
  float* shared(std::int64_t floats) { return shared_.floats(floats); }

  // work(team, i, `floats` of memory) for matrices i in [0, count): side by side, a thread each, or
  // one after the other by all threads.
  template <class Work>
  void matrices(std::int64_t count, std::int64_t floats, const Work& work) {
    if (side_by_side(count))
      return run(count, [&](std::int64_t i) { work(Team(1), i, scratch(floats)); });
    for (std::int64_t i = 0; i < count; ++i) work(*this, i, shared(floats));
  }

 private:
  tbb::enumerable_thread_specific<Scratch> local_, packing_;
  Scratch shared_;
};

// Zeroed arrays in the calling thread's scratch, one after the other: what a std::vector would be
// without its allocation. The former ones are gone.
class Arrays {
 public:
  Arrays(Crew& crew, std::int64_t bytes)
      : at_(reinterpret_cast<std::byte*>(crew.scratch(ceil_div(bytes, 4) + 64))),
        end_(at_ + bytes + 64 * 4) {}
  template <class T>
  std::span<T> take(std::int64_t count) {
    T* const first = reinterpret_cast<T*>(at_);
    at_ += round_up(count * std::int64_t{sizeof(T)}, 64);
    MOEBIUS_CHECK(at_ <= end_, "[arrays] {} bytes too few", at_ - end_);
    std::fill_n(first, count, T{});
    return {first, static_cast<std::size_t>(count)};
  }

 private:
  std::byte *at_, *end_;
};

}  // namespace moebius::cpu
