#include <vector>

#include "model/backends/cpu/cpu.h"
#include "model/backends/cpu/rowwise.h"
#include "model/backends/cpu/sgemm.h"

namespace moebius::cpu {
namespace {

// Rows of a tile of y = x W: four tiles in a small batch, larger ones where the library would
// otherwise copy W more often than needed (measured: 256 rows lose 5-8 % when W is wide).
std::int64_t row_tile(std::int64_t rows) {
  return std::clamp<std::int64_t>(round_up(ceil_div(rows, 4), 16), 256, 512);
}

// Rows of a tile of dW = x^T dy: two tiles at least, so that two threads have work.
std::int64_t gradient_tile(std::int64_t rows) {
  return std::clamp<std::int64_t>(round_up(ceil_div(rows, 2), 16), 64, 384);
}
constexpr std::int64_t kGradientColumns = 1024;

// One tile of dW += x^T dy.
void add_product(const Floats& x, const Floats& dy, const Floats& dw, std::int64_t tile) {
  const std::int64_t height = gradient_tile(dw.rows);
  const std::int64_t across = ceil_div(dw.cols, kGradientColumns);
  const std::int64_t top = tile / across * height, left = tile % across * kGradientColumns;
  const std::int64_t bottom = std::min(dw.rows, top + height);
  const std::int64_t right = std::min(dw.cols, left + kGradientColumns);
  sgemm(transpose(x.columns(top, bottom)), dy.columns(left, right),
        dw.slice(top, bottom).columns(left, right), 1, 1);
}
std::int64_t gradient_tiles(const Floats& dw) {
  return ceil_div(dw.rows, gradient_tile(dw.rows)) * ceil_div(dw.cols, kGradientColumns);
}

// Rows [begin, end) of the routed buffers, all of one expert.
struct ExpertRows {
  std::int64_t expert, begin, end;
};
std::vector<ExpertRows> expert_tiles(const Ints& offset, std::int64_t experts) {
  check_shape(offset, experts + 1, 1, "expert_matmul offset");
  std::vector<ExpertRows> tiles;
  for (std::int64_t e = 0; e < experts; ++e) {
    const std::int64_t first = *offset.row(e), last = *offset.row(e + 1);
    const std::int64_t tile = row_tile(last - first);
    for (std::int64_t row = first; row < last; row += tile)
      tiles.push_back({e, row, std::min(last, row + tile)});
  }
  return tiles;
}

Floats of_expert(const Floats& w, const ParamSlot& slot, std::int64_t e) {
  return w.slice(e * slot.rows, (e + 1) * slot.rows);
}

}  // namespace

void Cpu::matmul(View x_view, Weight w, View y_view) {
  const Floats x = x_view, y = y_view;
  check_shape(x, y.rows, slot(w).rows, "matmul x");
  check_shape(y, x.rows, slot(w).cols, "matmul y");
  crew_.ranges(x.rows, row_tile(x.rows), [&](std::int64_t begin, std::int64_t end) {
    sgemm(x.slice(begin, end), value(w), y.slice(begin, end));
  });
}

void Cpu::matmul_dx(View dy_view, Weight w, View dx_view, bool accumulate) {
  const Floats dy = dy_view, dx = dx_view;
  check_shape(dy, dx.rows, slot(w).cols, "matmul_dx dy");
  check_shape(dx, dy.rows, slot(w).rows, "matmul_dx dx");
  const float beta = accumulate ? 1.0f : 0.0f;
  crew_.ranges(dy.rows, row_tile(dy.rows), [&](std::int64_t begin, std::int64_t end) {
    sgemm(dy.slice(begin, end), transpose(value(w)), dx.slice(begin, end), 1, beta);
  });
}

void Cpu::matmul_dw(View x_view, View dy_view, Weight w) {
  const Floats x = x_view, dy = dy_view, dw = gradient(w);
  check_shape(x, dy.rows, dw.rows, "matmul_dw x");
  check_shape(dy, x.rows, dw.cols, "matmul_dw dy");
  crew_.run(gradient_tiles(dw), [&](std::int64_t tile) { add_product(x, dy, dw, tile); });
}

void Cpu::expert_matmul(View x_view, const Routing& r, Weight w, View y_view) {
  const Floats x = x_view, y = y_view;
  check_shape(x, y.rows, slot(w).rows, "expert_matmul x");
  check_shape(y, x.rows, slot(w).cols, "expert_matmul y");
  const std::vector<ExpertRows> tiles = expert_tiles(r.offset, slot(w).batch);
  crew_.run(std::ssize(tiles), [&](std::int64_t i) {
    const auto [e, begin, end] = tiles[static_cast<std::size_t>(i)];
    rowwise_product(x.slice(begin, end), of_expert(value(w), slot(w), e), y.slice(begin, end),
                    crew_.scratch(kRowwiseScratch));
  });
}

void Cpu::expert_matmul_dx(View dy_view, const Routing& r, Weight w, View dx_view,
                           bool accumulate) {
  const Floats dy = dy_view, dx = dx_view;
  check_shape(dy, dx.rows, slot(w).cols, "expert_matmul_dx dy");
  check_shape(dx, dy.rows, slot(w).rows, "expert_matmul_dx dx");
  const std::vector<ExpertRows> tiles = expert_tiles(r.offset, slot(w).batch);
  crew_.run(std::ssize(tiles), [&](std::int64_t i) {
    const auto [e, begin, end] = tiles[static_cast<std::size_t>(i)];
    sgemm(dy.slice(begin, end), transpose(of_expert(value(w), slot(w), e)), dx.slice(begin, end), 1,
          accumulate ? 1.0f : 0.0f);
  });
}

void Cpu::expert_matmul_dw(View x_view, View dy_view, const Routing& r, Weight w) {
  const Floats x = x_view, dy = dy_view, dw = gradient(w);
  const Ints offset = r.offset;
  check_shape(x, dy.rows, slot(w).rows, "expert_matmul_dw x");
  check_shape(dy, x.rows, slot(w).cols, "expert_matmul_dw dy");
  check_shape(offset, slot(w).batch + 1, 1, "expert_matmul_dw offset");
  const std::int64_t per_expert = gradient_tiles(of_expert(dw, slot(w), 0));
  crew_.run(slot(w).batch * per_expert, [&](std::int64_t i) {
    const std::int64_t e = i / per_expert;
    const std::int64_t begin = *offset.row(e), end = *offset.row(e + 1);
    if (begin == end) return;
    add_product(x.slice(begin, end), dy.slice(begin, end), of_expert(dw, slot(w), e),
                i % per_expert);
  });
}

}  // namespace moebius::cpu
