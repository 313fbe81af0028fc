#pragma once
#include "model/view.h"

namespace moebius::cpu {

// A cursor for software prefetch into L2. A product asks for one cache line per iteration of its
// loop, because it leaves the memory bus idle. All lines at once would fill the line-fill buffers
// and stall.
class Ahead {
 public:
  Ahead() = default;
  explicit Ahead(const View& v)
      : at_(v.data), pitch_(v.ld * size_of(v.dtype)), bytes_(v.cols * size_of(v.dtype)) {
    rows_ = bytes_ > 0 ? v.rows : 0;
    end_ = at_ + bytes_;
  }
  bool done() const { return rows_ == 0; }

  // Prefetches the next cache line. Only while not done().
  void ask() {
    __builtin_prefetch(at_, 0, 2);
    at_ += 64;
    if (at_ < end_) return;
    --rows_;
    end_ += pitch_;
    at_ = end_ - bytes_;
  }

 private:
  const std::byte *at_ = nullptr, *end_ = nullptr;  // of the first row left
  std::int64_t pitch_ = 0, bytes_ = 0, rows_ = 0;
};

}  // namespace moebius::cpu
