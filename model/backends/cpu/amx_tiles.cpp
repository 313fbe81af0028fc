#include "model/backends/cpu/amx_tiles.h"

#include <hwy/base.h>
#include <immintrin.h>

#include <algorithm>
#include <array>

HWY_DIAGNOSTICS(push)  // GCC 12 finds undefined values in its own intrinsics (bug 105593)
HWY_DIAGNOSTICS_OFF(disable : 4701, ignored "-Wuninitialized")
HWY_DIAGNOSTICS_OFF(disable : 4701, ignored "-Wmaybe-uninitialized")
HWY_PUSH_ATTRIBUTES(MOEBIUS_AMX_ATTRIBUTES)
namespace moebius::cpu::amx {
namespace {

// Tiles 0-3 are sums, 4 and 5 come from the left, 6 and 7 from the right.
struct alignas(64) Configuration {
  std::uint8_t palette = 1, start = 0;
  std::array<std::uint8_t, 14> reserved = {};
  std::array<std::uint16_t, 16> row_bytes = {};
  std::array<std::uint8_t, 16> rows = {};
};

// What the calling thread's tiles are configured for, and how many want to keep that.
struct State {
  std::int64_t rows = 0;
  int holders = 0;
};
thread_local State state;

}  // namespace

void configure(std::int64_t rows) {
  if (state.rows == rows) return;
  state.rows = rows;
  // By rows: an instruction that reads 64 bytes just written in pieces would wait for them.
  static constexpr auto kByRows = [] {
    std::array<Configuration, kBlock + 1> all;
    for (std::size_t i = 1; i < all.size(); ++i) {
      const auto upper = static_cast<std::uint8_t>(std::min<std::size_t>(i, kTile));
      const auto lower = static_cast<std::uint8_t>(i > kTile ? i - kTile : 1);
      std::fill_n(all[i].row_bytes.begin(), 8, std::uint16_t{64});
      all[i].rows = {upper, upper, lower, lower, upper, lower, 16, 16};
    }
    return all;
  }();
  _tile_loadconfig(&kByRows[static_cast<std::size_t>(rows)]);
}

void release() {
  if (state.holders > 0) return;
  state.rows = 0;
  _tile_release();
}

void hold() { ++state.holders; }
void let_go() {
  --state.holders;
  if (state.rows > 0) release();
}

double multiply_registers(std::int64_t rounds) {
  configure(kBlock);
  _tile_zero(0);
  _tile_zero(1);
  _tile_zero(2);
  _tile_zero(3);
  _tile_zero(4);
  _tile_zero(5);
  _tile_zero(6);
  _tile_zero(7);
  for (std::int64_t i = 0; i < rounds; ++i) {
    _tile_dpbf16ps(0, 4, 6);
    _tile_dpbf16ps(1, 4, 7);
    _tile_dpbf16ps(2, 5, 6);
    _tile_dpbf16ps(3, 5, 7);
  }
  release();
  return 2.0 * 4 * kTile * kTile * kDepth * static_cast<double>(rounds);
}

}  // namespace moebius::cpu::amx
HWY_POP_ATTRIBUTES
HWY_DIAGNOSTICS(pop)
