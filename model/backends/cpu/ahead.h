#pragma once
#include "model/view.h"

namespace moebius::cpu {

// Memory that is wanted soon, asked for into L2 line by line beside products: they leave memory
// idle, and a burst of requests would wait for itself.
class Ahead {
 public:
  Ahead() = default;
  explicit Ahead(const View& v)
      : at_(v.data), pitch_(v.ld * size_of(v.dtype)), bytes_(v.cols * size_of(v.dtype)) {
    rows_ = bytes_ > 0 ? v.rows : 0;
    end_ = at_ + bytes_;
  }
  bool done() const { return rows_ == 0; }

  // The next line; not when done.
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
