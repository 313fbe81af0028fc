#include "model/backends/cpu/cpu.h"
#include "model/backends/cpu/gemm.h"
#include "model/backends/cpu/library.h"
#include "model/backends/cpu/optimizer.h"

namespace moebius::cpu {
namespace {

constexpr std::int64_t kColumns = 64;  // columns that a product packs together

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

std::int64_t backward_scratch(const ParamSlot& s) {
  return s.rows * s.cols + update_scratch(s.rows, s.cols);
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
          gemm(a, columns(b, begin, end), columns(c, begin, end), options, crew_.packing());
        else
          gemm(factor_rows(a, begin, end), b, rows(c, begin, end), options, crew_.packing());
      });
}

// work(team, expert, its first row, the end of its rows, `floats` of memory): one expert a thread,
// or one after the other with all threads when there are too few to go round.
template <class Work>
void Cpu::each_expert(const Routing& r, Weight w, std::int64_t floats, const Work& work) {
  const Ints offset = r.offset;
  const std::int64_t experts = slot(w).batch;
  check_shape(offset, experts + 1, 1, "expert_matmul offset");
  const auto at = [&](const Team& team, std::int64_t e, float* memory) {
    work(team, e, *offset.row(e), *offset.row(e + 1), memory);
  };
  if (crew_.threads() > 1 && experts < 2 * crew_.threads()) {
    for (std::int64_t e = 0; e < experts; ++e) at(crew_, e, crew_.shared(floats));
  } else {
    crew_.run(experts, [&](std::int64_t e) { at(Team(1), e, crew_.scratch(floats)); });
  }
}

void Cpu::matmul(View x, Weight w, View y) {
  product(crew_, x, params_->value(w), y, {.operand = operand_of(w)});
}

void Cpu::matmul_transposed(View y, Weight w, View x) {
  product(crew_, y, transpose(params_->value(w)), x, {.operand = operand_of(w)});
}

void Cpu::matmul_backward(View x, View dy, Weight w, View dx, bool accumulate) {
  const View value = params_->value(w);
  const Dtype operand = operand_of(w);
  product(crew_, dy, transpose(value), dx, {.operand = operand, .accumulate = accumulate});
  const auto waiting = waiting_.take(w);
  if (!waiting)
    return product(crew_, transpose(x), dy, params_->gradient(w),
                   {.operand = operand, .accumulate = accumulates(w), .read_soon = false});
  const Floats g(crew_.shared(backward_scratch(slot(w))), value.rows, value.cols);
  product(crew_, transpose(x), dy, g.view(), {.operand = operand});
  *Doubles(waiting->norm2).row(0) +=
      apply_update(crew_, value, g, waiting->update, 1, g.data + g.size());
}

void Cpu::expert_matmul(View x, const Routing& r, Weight w, View y) {
  check_shape(x, y.rows, slot(w).rows, "expert_matmul x");
  check_shape(y, x.rows, slot(w).cols, "expert_matmul y");
  each_expert(r, w, 0,
              [&](const Team& team, std::int64_t e, std::int64_t first, std::int64_t end, float*) {
                if (first == end) return;
                product(team, rows(x, first, end), of_expert(params_->value(w), slot(w), e),
                        rows(y, first, end), {.operand = operand_});
              });
}

// An expert's dx and dW one after the other, while its weights and rows are near.
void Cpu::expert_matmul_backward(View x, View dy, const Routing& r, Weight w, View dx,
                                 bool accumulate) {
  const ParamSlot& s = slot(w);
  check_shape(x, dy.rows, s.rows, "expert_matmul_backward x");
  check_shape(dy, x.rows, s.cols, "expert_matmul_backward dy");
  check_shape(dx, x.rows, s.rows, "expert_matmul_backward dx");
  const auto waiting = waiting_.take(w);
  const GemmOptions options = {.operand = operand_,
                               .accumulate = !waiting && accumulates(w),
                               .read_soon = waiting.has_value()};
  const auto each = [&](const Team& team, std::int64_t e, std::int64_t first, std::int64_t end,
                        float* memory) {
    const View value = of_expert(params_->value(w), s, e);
    if (first < end)
      product(team, rows(dy, first, end), transpose(value), rows(dx, first, end),
              {.operand = operand_, .accumulate = accumulate});
    const Floats g =
        waiting ? Floats(memory, s.rows, s.cols) : Floats(of_expert(params_->gradient(w), s, e));
    if (first < end)
      product(team, transpose(rows(x, first, end)), rows(dy, first, end), g.view(), options);
    else if (!options.accumulate)
      std::fill_n(g.data, g.size(), 0.0f);
    if (waiting)
      squares_[static_cast<std::size_t>(e)] =
          apply_update(team, value, g, of_expert(waiting->update, s, e), 1, g.data + g.size());
  };
  each_expert(r, w, waiting ? backward_scratch(s) : 0, each);
  if (!waiting) return;
  for (std::int64_t e = 0; e < s.batch; ++e)
    *Doubles(waiting->norm2).row(0) += squares_[static_cast<std::size_t>(e)];
}

}  // namespace moebius::cpu
