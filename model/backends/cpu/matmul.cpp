#include "model/backends/cpu/cpu.h"
#include "model/backends/cpu/gemm.h"

namespace moebius::cpu {
namespace {

constexpr std::int64_t kColumns = 64;  // columns that a product packs together

// Matrix e of a slot of several.
View of_expert(const View& w, const ParamSlot& slot, std::int64_t e) {
  return w.row_range(e * slot.rows, slot.rows);
}

View columns(const View& v, std::int64_t begin, std::int64_t end) {
  return v.columns(begin, end - begin);
}
Factor columns(const Factor& f, std::int64_t begin, std::int64_t end) {
  return f.transposed ? transpose(rows(f.view, begin, end)) : columns(f.view, begin, end);
}
Factor factor_rows(const Factor& f, std::int64_t begin, std::int64_t end) {
  return f.transposed ? transpose(columns(f.view, begin, end)) : rows(f.view, begin, end);
}

}  // namespace

// A router decides by small differences: it is not rounded (2202.08906 section 3).
Dtype Cpu::operand_of(Weight w) const {
  return slot(w).role == Role::Router ? Dtype::F32 : operand_;
}

// Every thread packs what it multiplies: columns are cut where rows lie ready, else the longer
// side.
void Cpu::product(const Factor& a, const Factor& b, const View& c, const GemmOptions& options) {
  const std::int64_t threads = crew_.threads();
  if (threads == 1) return gemm(a, b, c, options, crew_.packing());
  const bool by_columns = a.transposed ? c.cols >= c.rows : c.cols >= threads * kColumns;
  const std::int64_t side = by_columns ? c.cols : c.rows;
  crew_.ranges(
      side, round_up(ceil_div(side, threads), kColumns), [&](std::int64_t begin, std::int64_t end) {
        if (by_columns)
          gemm(a, columns(b, begin, end), columns(c, begin, end), options, crew_.packing());
        else
          gemm(factor_rows(a, begin, end), b, rows(c, begin, end), options, crew_.packing());
      });
}

// multiply(e, [first, last), [begin, end)) for the rows of every expert and columns of c, which are
// cut when there are few experts.
template <class Multiply>
void Cpu::each_expert(const Routing& r, Weight w, std::int64_t cols, const Multiply& multiply) {
  const Ints offset = r.offset;
  const std::int64_t experts = slot(w).batch;
  check_shape(offset, experts + 1, 1, "expert_matmul offset");
  const std::int64_t parts = crew_.threads() == 1 ? 1 : ceil_div(2 * crew_.threads(), experts);
  const std::int64_t width = round_up(ceil_div(cols, parts), kColumns);
  crew_.run(experts * parts, [&](std::int64_t i) {
    const std::int64_t e = i / parts, first = *offset.row(e), last = *offset.row(e + 1);
    const std::int64_t begin = std::min(cols, i % parts * width);
    const std::int64_t end = std::min(cols, begin + width);
    if (first < last && begin < end) multiply(e, first, last, begin, end);
  });
}

void Cpu::matmul(View x, Weight w, View y) {
  product(x, params_->value(w), y, {.operand = operand_of(w)});
}

void Cpu::matmul_dx(View dy, Weight w, View dx, bool accumulate) {
  product(dy, transpose(params_->value(w)), dx,
          {.operand = operand_of(w), .accumulate = accumulate});
}

void Cpu::matmul_dw(View x, View dy, Weight w) {
  product(transpose(x), dy, params_->gradient(w),
          {.operand = operand_of(w), .accumulate = accumulates(w), .read_soon = false});
}

void Cpu::expert_matmul(View x, const Routing& r, Weight w, View y) {
  check_shape(x, y.rows, slot(w).rows, "expert_matmul x");
  check_shape(y, x.rows, slot(w).cols, "expert_matmul y");
  each_expert(
      r, w, y.cols,
      [&](std::int64_t e, std::int64_t first, std::int64_t last, std::int64_t begin,
          std::int64_t end) {
        gemm(rows(x, first, last), columns(of_expert(params_->value(w), slot(w), e), begin, end),
             columns(rows(y, first, last), begin, end), {.operand = operand_}, crew_.packing());
      });
}

void Cpu::expert_matmul_dx(View dy, const Routing& r, Weight w, View dx, bool accumulate) {
  check_shape(dy, dx.rows, slot(w).cols, "expert_matmul_dx dy");
  check_shape(dx, dy.rows, slot(w).rows, "expert_matmul_dx dx");
  each_expert(r, w, dx.cols,
              [&](std::int64_t e, std::int64_t first, std::int64_t last, std::int64_t begin,
                  std::int64_t end) {
                gemm(rows(dy, first, last),
                     transpose(rows(of_expert(params_->value(w), slot(w), e), begin, end)),
                     columns(rows(dx, first, last), begin, end),
                     {.operand = operand_, .accumulate = accumulate}, crew_.packing());
              });
}

void Cpu::expert_matmul_dw(View x, View dy, const Routing& r, Weight w) {
  check_shape(x, dy.rows, slot(w).rows, "expert_matmul_dw x");
  check_shape(dy, x.rows, slot(w).cols, "expert_matmul_dw dy");
  const bool add = accumulates(w);
  const Ints offset = r.offset;
  for (std::int64_t e = 0; !add && e < slot(w).batch; ++e)  // no product reaches those without rows
    if (*offset.row(e) == *offset.row(e + 1)) fill(of_expert(params_->gradient(w), slot(w), e), 0);
  each_expert(r, w, dy.cols,
              [&](std::int64_t e, std::int64_t first, std::int64_t last, std::int64_t begin,
                  std::int64_t end) {
                gemm(transpose(rows(x, first, last)), columns(rows(dy, first, last), begin, end),
                     columns(of_expert(params_->gradient(w), slot(w), e), begin, end),
                     {.operand = operand_, .accumulate = add, .read_soon = false}, crew_.packing());
              });
}

}  // namespace moebius::cpu
