#pragma once
#include <hwy/base.h>

#include <cstdint>

#include "model/backends/cpu/amx_pack.h"

// Of functions that are compiled for Level::Amx.
#define MOEBIUS_AMX_ATTRIBUTES "amx-tile,amx-bf16,avx512f,avx512bw,avx512vl,avx512dq,avx512bf16"

// The unit's tiles: amx_tiles.cpp configures them, amx_blocks.cpp multiplies with them.
namespace moebius::cpu::amx {

constexpr std::int64_t kBlock = 2 * kTile;  // rows and columns of sums in registers at a time

// GCC does not know that tile instructions touch memory.
HWY_INLINE void fence() { asm volatile("" ::: "memory"); }

// Tiles for blocks of `rows` rows, at most kBlock: see Configuration.
void configure(std::int64_t rows);
// After the products of a call: gives the tiles back, unless they are held.
void release();

// See amx.h.
void hold();
void let_go();
double multiply_registers(std::int64_t rounds);

}  // namespace moebius::cpu::amx
