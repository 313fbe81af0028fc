#include <utility>

#include "model/backends/cpu/cpu.h"
#include "model/backends/cpu/gemm.h"
#include "model/backends/cpu/optimizer.h"
#include "model/backends/cpu/workspace.h"

namespace moebius::cpu {
namespace {

constexpr std::int64_t kColumns = 64;    // columns that a product packs together
constexpr std::int64_t kNear = 1 << 18;  // elements of a matrix that stays in a near cache

View columns(const View& v, std::int64_t begin, std::int64_t end) {
  return v.columns(begin, end - begin);
}
// The matrix behind e of a slot, or an empty one.
View matrix_after(const View& all, const ParamSlot& s, std::int64_t e) {
  return e + 1 < s.batch ? of_expert(all, s, e + 1) : View{};
}

}  // namespace

std::int64_t backward_scratch(const ParamSlot& s, bool updates) {
  const std::int64_t size = s.rows * s.cols;
  return updates ? size + update_scratch(s.rows, s.cols) : sum_of_squares_scratch(size);
}

// A router decides by small differences: it is not rounded (2202.08906 section 3).
Dtype Cpu::operand_of(Weight w) const {
  return slot(w).role == Role::Router ? Dtype::F32 : operand_;
}

// Every thread packs what it multiplies: columns are cut where rows lie ready, else the longer
// side.
void Cpu::product(const Team& team, const Factor& a, const Factor& b, const View& c,
                  const GemmOptions& options) {
  const std::int64_t threads = team.threads();
  if (threads == 1) return gemm(a, b, c, options, crew_.packing());
  const bool by_columns = a.transposed ? c.cols >= c.rows : c.cols >= threads * kColumns;
  const std::int64_t side = by_columns ? c.cols : c.rows;
  team.ranges(
      side, round_up(ceil_div(side, threads), kColumns), [&](std::int64_t begin, std::int64_t end) {
        if (by_columns)
          gemm(a, factor_columns(b, begin, end), columns(c, begin, end), options, crew_.packing());
        else
          gemm(factor_rows(a, begin, end), b, rows(c, begin, end), options, crew_.packing());
      });
}

// dx, then dW or the update, matrix by matrix of w, so that its weights and rows are near:
// rows_of(e) is the range of rows that meet matrix e.
template <class RowsOf>
void Cpu::backward(View x, View dy, Weight w, View dx, bool accumulate, const RowsOf& rows_of) {
  const ParamSlot& s = slot(w);
  check_shape(x, dy.rows, s.rows, "matmul_backward x");
  check_shape(dy, x.rows, s.cols, "matmul_backward dy");
  check_shape(dx, x.rows, s.rows, "matmul_backward dx");
  const Contribution to = contribution(w, Producer::Product);
  const bool updates = to.update != nullptr;
  const bool near = s.rows * s.cols <= kNear;  // a gradient: its norm costs little now
  const bool norm = near && to.last;
  const Dtype operand = operand_of(w);
  const GemmOptions of_dx = {.operand = operand, .accumulate = accumulate};
  const GemmOptions of_dw = {
      .operand = operand, .accumulate = !to.first, .read_soon = updates || near};
  const auto each = [&](const Team& team, std::int64_t e, float* memory) {
    const auto [first, end] = rows_of(e);
    const View value = of_expert(params_->value(w), s, e);
    const Floats g =
        updates ? Floats(memory, s.rows, s.cols) : Floats(of_expert(params_->gradient(w), s, e));
    if (first < end) {
      GemmOptions then = of_dw;
      then.next = transpose(matrix_after(params_->value(w), s, e));
      product(team, rows(dy, first, end), transpose(value), rows(dx, first, end), of_dx);
      product(team, transpose(rows(x, first, end)), rows(dy, first, end), g.view(), then);
    } else if (!of_dw.accumulate) {
      std::fill_n(g.data, g.size(), 0.0f);
    }
    double& norm2 = squares_[static_cast<std::size_t>(e)];
    if (updates)
      norm2 = apply_update(team, value, g, of_expert(*to.update, s, e), 1, g.data + g.size());
    else if (norm)
      norm2 = sum_of_squares(team, g, memory);
  };
  crew_.matrices(s.batch, updates || norm ? backward_scratch(s, updates) : 0, each);
  if (!updates && !norm) return;
  double norm2 = 0;
  for (std::int64_t e = 0; e < s.batch; ++e) norm2 += squares_[static_cast<std::size_t>(e)];
  if (updates)
    *Doubles(to.norm2).row(0) += norm2;
  else
    norms_.at(static_cast<std::size_t>(w.slot)) = norm2;
}

void Cpu::matmul(View x, Weight w, View y) {
  product(crew_, x, params_->value(w), y, {.operand = operand_of(w)});
}

void Cpu::matmul_transposed(View y, Weight w, View x) {
  product(crew_, y, transpose(params_->value(w)), x, {.operand = operand_of(w)});
}

void Cpu::matmul_backward(View x, View dy, Weight w, View dx, bool accumulate) {
  backward(x, dy, w, dx, accumulate,
           [&](std::int64_t) { return std::pair(std::int64_t{0}, x.rows); });
}

void Cpu::expert_matmul(View x, const Routing& r, Weight w, View y) {
  const ParamSlot& s = slot(w);
  const Ints offset = r.offset;
  check_shape(x, y.rows, s.rows, "expert_matmul x");
  check_shape(y, x.rows, s.cols, "expert_matmul y");
  check_shape(offset, s.batch + 1, 1, "expert_matmul offset");
  crew_.matrices(s.batch, 0, [&](const Team& team, std::int64_t e, float*) {
    const std::int64_t first = *offset.row(e), end = *offset.row(e + 1);
    if (first < end)
      product(team, rows(x, first, end), of_expert(params_->value(w), s, e), rows(y, first, end),
              {.operand = operand_, .next = matrix_after(params_->value(w), s, e)});
  });
}

void Cpu::expert_matmul_backward(View x, View dy, const Routing& r, Weight w, View dx,
                                 bool accumulate) {
  const Ints offset = r.offset;
  check_shape(offset, slot(w).batch + 1, 1, "expert_matmul_backward offset");
  backward(x, dy, w, dx, accumulate, [&](std::int64_t e) {
    return std::pair<std::int64_t, std::int64_t>(*offset.row(e), *offset.row(e + 1));
  });
}

}  // namespace moebius::cpu
