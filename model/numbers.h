#pragma once
#include <cstdint>
#include <span>
#include <vector>

#include "model/backends/memory.h"

namespace moebius {

// Numbers of a view as double on the host, row by row: f64, f32 or bf16.
std::vector<double> read_numbers(Memory& memory, View from);
// The same way back, rounded to the nearest number of the view's type, ties to even.
void write_numbers(Memory& memory, View to, std::span<const double> values);

// bf16 is the upper half of an f32. A NaN stays one.
std::uint16_t bf16_bits(float value);
float from_bf16(std::uint16_t bits);

}  // namespace moebius
