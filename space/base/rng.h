#pragma once
#include <array>
#include <cstdint>
#include <string_view>

namespace moebius {

// Counter-based random numbers: Philox4x32-10 (Salmon et al. 2011), the same on every machine,
// thread count and device. A value is a pure function of (key, counter); streams are split by name,
// so nothing depends on the order of calls elsewhere.

// The bare generator: 128 random bits for (key, counter).
std::array<std::uint32_t, 4> philox(std::uint64_t key, std::uint64_t counter_low,
                                    std::uint64_t counter_high = 0);

// A key derived from a seed, a purpose and an index: XXH3-64 over the three.
std::uint64_t derive_key(std::uint64_t seed, std::string_view purpose, std::uint64_t index = 0);

// A cheap sequential reader of one stream. Copying it copies the position.
class Rng {
 public:
  explicit Rng(std::uint64_t seed) : key_(seed) {}

  // An independent stream; does not move this one.
  Rng split(std::string_view purpose, std::uint64_t index = 0) const {
    return Rng(derive_key(key_, purpose, index));
  }

  std::uint64_t next();                  // 64 uniform bits
  std::uint64_t below(std::uint64_t n);  // uniform in [0, n), n > 0; exact (Lemire's rejection)
  double uniform();                      // [0, 1), 53 bits
  double normal();                       // N(0, 1), Box-Muller

 private:
  std::uint64_t key_;
  std::uint64_t counter_ = 0;
};

}  // namespace moebius
