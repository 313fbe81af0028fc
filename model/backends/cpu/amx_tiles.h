#pragma once
#include <hwy/base.h>

#include <cstdint>

#include "model/backends/cpu/amx_pack.h"

// Between amx_gemm.cpp, which puts factors where tiles can be loaded from, and amx.cpp, which
// multiplies them.
namespace moebius::cpu::amx {

constexpr std::int64_t kBlock = 2 * kTile;  // rows and columns of sums in registers at a time

// GCC does not know that tile instructions touch memory.
HWY_INLINE void fence() { asm volatile("" ::: "memory"); }

// Tiles of the left factor: bytes from one row to the next, one step, one tile of rows.
struct Left {
  const std::byte* first;
  std::int64_t row, step, tile;
};

// Panels of the right factor: bytes from one to the next.
struct Right {
  const std::byte* first;
  std::int64_t panel;
};

// Where sums go.
struct Target {
  View c;
  float scale;
  bool accumulate;
  bool far;                // too large for a near cache
  bool continued = false;  // sums may begin with c, whose size is theirs
  bool past_caches = false;

  std::byte* at(std::int64_t i, std::int64_t j) const {
    return c.data + (i * c.ld + j) * size_of(c.dtype);
  }
};

// All of c, from `steps` tiles of the summed dimension. `sums`: a KiB for every 16 x 16 of 32 rows
// of c, when there are many steps.
void multiply(const Left& left, const Right& right, std::int64_t steps, std::byte* sums,
              const Target& target);
// After the products of a call: gives the tiles back, unless a session holds them.
void release();

}  // namespace moebius::cpu::amx
