#pragma once
#include <cstddef>
#include <cstdint>
#include <memory>
#include <type_traits>
#include <vector>

#include "model/view.h"

namespace moebius {

// Memory of one step, planned by a dry run: values saved for backward grow from the bottom, scratch
// from the top and is released by scope. With no memory behind it (dry) the arena only measures;
// its views must then not be touched. Nothing is allocated from the system inside a step.
class Arena {
 public:
  Arena() = default;  // dry: unlimited, measures
  Arena(std::byte* base, std::int64_t bytes) : base_(base), capacity_(bytes) {}

  View save(Dtype dtype, std::int64_t rows, std::int64_t cols);  // lives until reset()
  View scratch(Dtype dtype, std::int64_t rows,
               std::int64_t cols);  // lives until the enclosing Scope ends

  // A plain struct that lives until reset(): what a layer's forward leaves for its backward (views
  // and handles only).
  template <class T>
  T& context() {
    static_assert(std::is_trivially_destructible_v<T> && std::is_trivially_copyable_v<T>);
    return *new (context_memory(sizeof(T))) T{};
  }

  void reset();                                // start of a micro-batch
  std::int64_t peak() const { return peak_; }  // bytes, bottom and top together, since construction
  bool dry() const { return base_ == nullptr; }

  // Scratch taken while a Scope lives is given back when it ends.
  class Scope {
   public:
    explicit Scope(Arena& arena) : arena_(arena), mark_(arena.top_) {}
    ~Scope() { arena_.top_ = mark_; }
    Scope(const Scope&) = delete;
    Scope& operator=(const Scope&) = delete;

   private:
    Arena& arena_;
    std::int64_t mark_;
  };

 private:
  void* context_memory(std::size_t bytes);
  View take(Dtype dtype, std::int64_t rows, std::int64_t cols, bool from_top);

  std::byte* base_ = nullptr;
  std::int64_t capacity_ = 0;
  std::int64_t bottom_ = 0, top_ = 0, peak_ = 0;  // bytes used from either end
  std::vector<std::unique_ptr<std::byte[]>>
      contexts_;  // 64 KiB pages of context structs, kept over reset()
  std::size_t context_page_ = 0, context_used_ = 0;
};

}  // namespace moebius
