#pragma once
#include <hwy/base.h>

#include <cstdint>

#include "model/backends/cpu/amx.h"
#include "model/backends/cpu/amx_pack.h"

// The unit's tiles: amx.cpp configures them, amx_blocks.cpp multiplies with them.
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
extern const Engine kEngine;  // amx_gemm.cpp

}  // namespace moebius::cpu::amx
