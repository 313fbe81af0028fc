#include "model/numbers.h"

#include <algorithm>
#include <bit>
#include <cmath>

namespace moebius {

std::uint16_t bf16_bits(float value) {
  const auto bits = std::bit_cast<std::uint32_t>(value);
  if (std::isnan(value)) return static_cast<std::uint16_t>((bits | 0x400000u) >> 16);
  return static_cast<std::uint16_t>((bits + 0x7fffu + (bits >> 16 & 1u)) >> 16);
}

float from_bf16(std::uint16_t bits) {
  return std::bit_cast<float>(static_cast<std::uint32_t>(bits) << 16);
}

std::vector<double> read_numbers(Memory& memory, View from) {
  std::vector<double> values(static_cast<std::size_t>(from.size()));
  if (from.dtype == Dtype::F64) {
    memory.read(from, values.data());
  } else if (from.dtype == Dtype::F32) {
    std::vector<float> narrow(values.size());
    memory.read(from, narrow.data());
    values.assign(narrow.begin(), narrow.end());
  } else {
    MOEBIUS_CHECK(from.dtype == Dtype::BF16, "[numbers] cannot read {}", dtype_text(from.dtype));
    std::vector<std::uint16_t> halves(values.size());
    memory.read(from, halves.data());
    std::transform(halves.begin(), halves.end(), values.begin(), from_bf16);
  }
  return values;
}

void write_numbers(Memory& memory, View to, std::span<const double> values) {
  MOEBIUS_CHECK(std::ssize(values) == to.size(), "[numbers] {} of them for a view of {}",
                values.size(), to.size());
  if (to.dtype == Dtype::F64) return memory.write(to, values.data());
  std::vector<float> narrow(values.size());
  std::transform(values.begin(), values.end(), narrow.begin(),
                 [](double value) { return static_cast<float>(value); });
  if (to.dtype == Dtype::F32) return memory.write(to, narrow.data());
  MOEBIUS_CHECK(to.dtype == Dtype::BF16, "[numbers] cannot write {}", dtype_text(to.dtype));
  std::vector<std::uint16_t> halves(values.size());
  std::transform(narrow.begin(), narrow.end(), halves.begin(), bf16_bits);
  memory.write(to, halves.data());
}

}  // namespace moebius
