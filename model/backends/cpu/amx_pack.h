#pragma once
#include <algorithm>
#include <cstdint>

#include "model/view.h"

// Factors of a product on AMX as tiles of 1 KiB: 16 rows of 32 bf16. `step` counts 32 elements of
// the summed dimension; what lies beyond its end is zero.
namespace moebius::cpu::amx {

constexpr std::int64_t kTile = 16;   // rows of a tile; columns of a tile of the right factor
constexpr std::int64_t kDepth = 32;  // elements of the summed dimension in a tile
constexpr std::int64_t kTileBytes = 1024;

// A bit for each of the first `count` lanes of 16.
constexpr std::uint16_t first_lanes(std::int64_t count) {
  return static_cast<std::uint16_t>((1u << std::clamp<std::int64_t>(count, 0, 16)) - 1);
}

// Left factor: tile (i, step) holds rows [16 i, 16 i + 16) of the product, elements of `step`.
// Tiles of one i lie one after the other.
void pack_left(const View& a, std::byte* to);             // a: [m, k], f32 or bf16
void pack_left_transposed(const View& a, std::byte* to);  // a: [k, m]

// Right factor, in panels of 32 columns: [panel][step][2 tiles]. Row p of a tile holds elements 2 p
// and 2 p + 1 of `step` for 16 columns, as pairs. Columns beyond the end are zero.
void pack_right(const View& b, std::byte* to);             // b: [k, n]
void pack_right_transposed(const View& b, std::byte* to);  // b: [n, k]

}  // namespace moebius::cpu::amx
