#pragma once
#include <cstddef>
#include <cstdint>

#include "space/base/check.h"

namespace moebius {

enum class Dtype : std::uint8_t { F64, F32, BF16, I32 };

constexpr std::int64_t size_of(Dtype dtype) {
  return dtype == Dtype::F64 ? 8 : dtype == Dtype::BF16 ? 2 : 4;
}
const char* dtype_text(Dtype dtype);

// A row-major matrix somewhere in a back-end's memory: element (i, j) is at data + (i * ld + j) *
// size_of(dtype). A view owns nothing. Layers pass views on; they never read a number out of one
// (that is Memory::read's work).
struct View {
  std::byte* data = nullptr;
  Dtype dtype = Dtype::F32;
  std::int64_t rows = 0;
  std::int64_t cols = 0;
  std::int64_t ld = 0;  // elements from one row to the next, >= cols

  bool empty() const { return rows == 0 || cols == 0; }
  std::int64_t size() const { return rows * cols; }
  View columns(std::int64_t begin, std::int64_t count) const {
    MOEBIUS_CHECK(begin >= 0 && begin + count <= cols, "[view] columns {}+{} of {}", begin, count,
                  cols);
    return {data + begin * size_of(dtype), dtype, rows, count, ld};
  }
  View row_range(std::int64_t begin, std::int64_t count) const {
    MOEBIUS_CHECK(begin >= 0 && begin + count <= rows, "[view] rows {}+{} of {}", begin, count,
                  rows);
    return {data + begin * ld * size_of(dtype), dtype, count, cols, ld};
  }
};

}  // namespace moebius
