#include "model/arena.h"

#include <algorithm>
#include <new>

namespace moebius {
namespace {

constexpr std::int64_t kAlignment = 64;
constexpr std::size_t kContextPage = 64 << 10;

// Where the views of a dry arena pretend to lie: no byte of it is ever touched.
constexpr std::uintptr_t kDryBase = std::uintptr_t{1} << 40;
constexpr std::int64_t kDryCapacity = std::int64_t{1} << 45;

std::int64_t round_up(std::int64_t bytes) {
  return (bytes + kAlignment - 1) / kAlignment * kAlignment;
}

}  // namespace

View Arena::save(Dtype dtype, std::int64_t rows, std::int64_t cols) {
  return take(dtype, rows, cols, false);
}

View Arena::scratch(Dtype dtype, std::int64_t rows, std::int64_t cols) {
  return take(dtype, rows, cols, true);
}

View Arena::take(Dtype dtype, std::int64_t rows, std::int64_t cols, bool from_top) {
  MOEBIUS_CHECK(rows >= 0 && cols >= 0, "[arena] view of shape [{}, {}]", rows, cols);
  std::byte* const base = dry() ? reinterpret_cast<std::byte*>(kDryBase) : base_;
  const std::int64_t capacity = (dry() ? kDryCapacity : capacity_) / kAlignment * kAlignment;
  const std::int64_t bytes = round_up(rows * cols * size_of(dtype));
  if (dry() && bottom_ + top_ + bytes > capacity) throw std::bad_alloc();  // more than any machine
  MOEBIUS_CHECK(bottom_ + top_ + bytes <= capacity,
                "[arena] {} B saved + {} B scratch + {} B for [{}, {}] {} exceed {} B; the dry run "
                "planned another step than this one",
                bottom_, top_, bytes, rows, cols, dtype_text(dtype), capacity);
  std::int64_t offset = bottom_;
  if (from_top) {
    top_ += bytes;
    offset = capacity - top_;
  } else {
    bottom_ += bytes;
  }
  peak_ = std::max(peak_, bottom_ + top_);
  return {base + offset, dtype, rows, cols, cols};
}

void Arena::reset() {
  bottom_ = top_ = 0;
  context_page_ = context_used_ = 0;
}

void* Arena::context_memory(std::size_t bytes) {
  constexpr std::size_t kStep = alignof(std::max_align_t);
  bytes = (bytes + kStep - 1) / kStep * kStep;
  MOEBIUS_CHECK(bytes <= kContextPage, "[arena] a context of {} B; a page has {}", bytes,
                kContextPage);
  if (context_used_ + bytes > kContextPage) {
    ++context_page_;
    context_used_ = 0;
  }
  if (context_page_ == contexts_.size())
    contexts_.push_back(std::make_unique<std::byte[]>(kContextPage));
  void* const memory = contexts_[context_page_].get() + context_used_;
  context_used_ += bytes;
  return memory;
}

}  // namespace moebius
