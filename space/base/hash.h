#pragma once
#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>

namespace moebius {

// XXH3-128 of a stream of bytes: the identity of specs, corpora, checkpoints and results. Not
// cryptographic: it finds accidents, not attackers.
class Hasher {
 public:
  Hasher();
  ~Hasher();
  Hasher(Hasher&&) noexcept;
  Hasher& operator=(Hasher&&) noexcept;

  void add(const void* data, std::size_t bytes);
  std::string hex()
      const;  // of all bytes so far: 32 lower-case hex digits, the same on any machine

 private:
  struct State;
  std::unique_ptr<State> state_;
};

std::string hash_hex(std::string_view bytes);
std::uint64_t hash64(std::string_view bytes, std::uint64_t seed = 0);  // XXH3-64

}  // namespace moebius
