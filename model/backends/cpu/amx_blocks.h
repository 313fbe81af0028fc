#pragma once
#include <algorithm>
#include <cstdint>

#include "model/backends/cpu/amx_tiles.h"
#include "model/backends/cpu/scratch.h"

namespace moebius::cpu::amx {

// Tiles of the left factor: bytes from one row to the next, one step, one tile of rows.
struct Left {
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

// Cache lines to prefetch into L2: `rows` times `bytes`, `row` bytes apart. A few are asked for in
// each step of a product. All at once would fill the line-fill buffers and stall.
struct Fetch {
  const std::byte* first = nullptr;
  std::int64_t row = 0, rows = 0, bytes = 0, done = 0;

  std::int64_t lines() const { return rows * ceil_div(bytes, 64); }
};

// Multiplies c block by block of 32 x 32, as a pipeline of three stages. While the products of
// block i run,
//   1. tiles hold the sums of block i,
//   2. the sums of block i - 1 are stored from their tiles to memory, when block i begins,
//   3. the sums of block i - 2 are scaled, rounded and written to c.
// Stage 3 is one block behind stage 2, because a load right after the store of a tile waits for it.
class Blocks {
 public:
  // `steps` tiles of the summed dimension; `sums`: sums_bytes of the columns of c. What it refers
  // to must outlive it.
  Blocks(const Left& left, const Right& right, std::int64_t steps, std::byte* sums,
         const Target& target);

  static constexpr std::int64_t sums_bytes(std::int64_t cols) {
    return std::max<std::int64_t>(2, ceil_div(cols, kBlock)) * 4 * kTileBytes;
  }

  // Set before `multiply`: what to ask for meanwhile.
  Fetch& next() { return next_; }
  // Rows [i, i + rows) of c, at most 32; `left`: the first of their tiles.
  void multiply(const std::byte* left, std::int64_t i, std::int64_t rows);
  // After the last rows.
  void end();

 private:
  // What 32 rows and a part of the summed dimension have in common.
  struct Chunk {
    const std::byte* left;
    std::int64_t rows, steps;
    std::int64_t rows_each, lines_each;  // to finish and to ask for in a step
    bool first, last;
  };
  // Sums of a block of c, at most [32, 32]: four tiles of [16, 16], or c itself. Bytes between
  // rows, from a tile to the one on its right, and to the one below.
  struct Block {
    std::byte* sums;
    std::int64_t row, right, below;
    std::byte* c;
    std::int64_t rows, cols;
    bool finish;  // not yet in c
  };

  template <int Rows, int Cols>
  void multiply_alone(const Chunk& chunk, const std::byte* right, std::byte* sums, std::byte* c,
                      std::int64_t cols);
  template <bool Stream>
  void multiply_in_turn(const Chunk& chunk, const std::byte* right, std::byte* sums, std::byte* c,
                        std::int64_t cols);
  void finish_rows(const std::byte* sums, std::byte* c, std::int64_t cols, std::int64_t first,
                   std::int64_t end) const;
  void finish_stored(std::int64_t rows);

  const Left& left_;
  const Right& right_;
  const Target& target_;
  std::int64_t steps_, panels_;
  std::byte* sums_;
  std::int64_t size_, row_;  // bytes of an element and from row to row of c
  bool in_place_;            // sums of whole tiles may be stored as c
  bool asks_;                // for c, before it is written
  Fetch next_;
  std::int64_t next_each_ = 0;  // lines of it to ask for in a step
  Block blocks_[2]{};
  std::int64_t turn_ = 0;           // which of them is or was in tiles last
  bool in_tiles_ = false;           // whether it still is
  std::int64_t finished_ = kBlock;  // rows of the other one that are in c
};

}  // namespace moebius::cpu::amx
