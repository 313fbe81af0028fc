#pragma once
#include <cstdint>
#include <cstdlib>
#include <memory>

namespace moebius::cpu {

// 64-byte aligned floats that grow on first use and then stay: nothing is allocated from the second
// step on.
class Scratch {
 public:
  // `count` floats of unknown content; the former ones are gone.
  float* floats(std::int64_t count) {
    if (count > capacity_) grow(count);
    return memory_.get();
  }

 private:
  void grow(std::int64_t count);

  struct Free {
    void operator()(float* memory) const { std::free(memory); }
  };
  std::unique_ptr<float[], Free> memory_;
  std::int64_t capacity_ = 0;
};

constexpr std::int64_t ceil_div(std::int64_t a, std::int64_t b) { return (a + b - 1) / b; }
constexpr std::int64_t round_up(std::int64_t a, std::int64_t b) { return ceil_div(a, b) * b; }

}  // namespace moebius::cpu
