#include "space/base/rng.h"

#include <Random123/philox.h>

#include <array>
#include <cmath>
#include <numbers>
#include <string>

#include "space/base/check.h"
#include "space/base/hash.h"

namespace moebius {
namespace {

__extension__ using Wide = unsigned __int128;

void append(std::string& bytes, std::uint64_t value) {
  for (int shift = 0; shift < 64; shift += 8) bytes += static_cast<char>(value >> shift & 0xff);
}

std::uint32_t low(std::uint64_t value) { return static_cast<std::uint32_t>(value); }
std::uint32_t high(std::uint64_t value) { return static_cast<std::uint32_t>(value >> 32); }

}  // namespace

std::array<std::uint32_t, 4> philox(std::uint64_t key, std::uint64_t counter_low,
                                    std::uint64_t counter_high) {
  const r123::Philox4x32::ctr_type counter = {
      {low(counter_low), high(counter_low), low(counter_high), high(counter_high)}};
  const r123::Philox4x32::key_type words = {{low(key), high(key)}};
  const auto block = r123::Philox4x32()(counter, words);
  return {block[0], block[1], block[2], block[3]};
}

std::uint64_t derive_key(std::uint64_t seed, std::string_view purpose, std::uint64_t index) {
  std::string bytes;  // little-endian whatever the machine
  append(bytes, seed);
  append(bytes, index);
  bytes += purpose;
  return hash64(bytes);
}

std::uint64_t Rng::next() {
  // One block holds two values.
  const auto block = philox(key_, counter_ / 2);
  const std::size_t half = 2 * (counter_++ % 2);
  return block[half] | std::uint64_t{block[half + 1]} << 32;
}

std::uint64_t Rng::below(std::uint64_t n) {
  MOEBIUS_CHECK(n > 0, "[rng] below(0)");
  // Lemire 2019 (arXiv 1805.10941): the high word of a product; the few low words that would make
  // some results likelier are drawn again.
  Wide product = Wide{next()} * n;
  const std::uint64_t threshold = (0 - n) % n;
  while (static_cast<std::uint64_t>(product) < threshold) product = Wide{next()} * n;
  return static_cast<std::uint64_t>(product >> 64);
}

double Rng::uniform() { return static_cast<double>(next() >> 11) * 0x1p-53; }

double Rng::normal() {
  const double radius = std::sqrt(-2 * std::log(1 - uniform()));  // 1 - u is never 0
  return radius * std::cos(2 * std::numbers::pi * uniform());
}

}  // namespace moebius
