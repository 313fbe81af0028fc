#include "model/backends/cpu/cpu.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "model/backends/cpu/dispatch.cpp"
#include "model/backends/cpu/foreach_level.h"  // includes this file once per instruction level

#include "model/backends/cpu/simd-inl.h"

HWY_BEFORE_NAMESPACE();
namespace moebius::cpu::N_LEVEL {

// x[t] = table[token[t]] + positions[t mod S] for rows [begin, end).
void embed_rows(const Ints& token, std::int64_t seq, const Floats& table, const Floats& positions,
                const Floats& x, std::int64_t begin, std::int64_t end) {
  for (std::int64_t t = begin; t < end; ++t) {
    const float* from = table.row(*token.row(t));
    float* to = x.row(t);
    std::copy_n(from, x.cols, to);
    if (!positions.empty()) add_to(positions.row(t % seq), to, x.cols);
  }
}

// to[index[i]] += from[i], or weight[i] from[i], for columns [begin, end): rows in their order.
template <class T>
void scatter_typed(const Matrix<T>& from, const Ints& index, const Floats& weight,
                   std::int64_t count, const Floats& to, std::int64_t begin, std::int64_t end) {
  for (std::int64_t i = 0; i < count; ++i) {
    float* row = to.row(*index.row(i)) + begin;
    if (weight.empty())
      add_to(from.row(i) + begin, row, end - begin);
    else
      add_scaled(from.row(i) + begin, *weight.row(i), row, end - begin);
  }
}

void scatter_rows(const View& from, const Ints& index, const Floats& weight, std::int64_t count,
                  const Floats& to, std::int64_t begin, std::int64_t end) {
  typed(from.dtype,
        [&]<class T>() { scatter_typed<T>(from, index, weight, count, to, begin, end); });
}

// to[t mod S] += from[t] for columns [begin, end).
void fold_sequences(const Floats& from, std::int64_t seq, const Floats& to, std::int64_t begin,
                    std::int64_t end) {
  for (std::int64_t t = 0; t < from.rows; ++t)
    add_to(from.row(t) + begin, to.row(t % seq) + begin, end - begin);
}

// dy[p] = weight[p] dout[token[p]], dweight[p] = y[p] . dout[token[p]] for pairs [begin, end).
template <class T>
void split_typed(const Matrix<T>& y, const Ints& token, const Floats& weight, const Matrix<T>& dout,
                 const Matrix<T>& dy, const Floats& dweight, std::int64_t begin, std::int64_t end) {
  for (std::int64_t p = begin; p < end; ++p) {
    const T *from = y.row(p), *grad = dout.row(*token.row(p));
    T* to = dy.row(p);
    const Vec gate = all(*weight.row(p));
    Vec sum = zero();
    each(dout.cols, [&](auto part, std::int64_t d) HWY_ATTR {
      const Vec g = part.load(grad + d);
      sum = hn::MulAdd(part.load(from + d), g, sum);
      part.store(hn::Mul(gate, g), to + d);
    });
    *dweight.row(p) = sum_of(sum);
  }
}

void split_rows(const View& y, const Ints& token, const Floats& weight, const View& dout,
                const View& dy, const Floats& dweight, std::int64_t begin, std::int64_t end) {
  typed(dy.dtype,
        [&]<class T>() { split_typed<T>(y, token, weight, dout, dy, dweight, begin, end); });
}

}  // namespace moebius::cpu::N_LEVEL
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace moebius::cpu {
namespace {

MOEBIUS_EXPORT(embed_rows);
MOEBIUS_EXPORT(scatter_rows);
MOEBIUS_EXPORT(fold_sequences);
MOEBIUS_EXPORT(split_rows);

// Several rows may add to one, so sums are split among threads by columns, never by rows.
constexpr std::int64_t kColumns = 128;

std::int64_t pairs(const Routing& r) { return *Ints(r.offset).row(r.offset.rows - 1); }

}  // namespace

void Cpu::embed(View token_view, std::int64_t seq, Weight table_weight, Weight positions_weight,
                View x_view) {
  const Ints token = token_view;
  const Floats table = value(table_weight), positions = value(positions_weight), x = x_view;
  check_shape(x, token.rows, table.cols, "embed x");
  for (std::int64_t t = 0; t < token.rows; ++t)
    MOEBIUS_CHECK(*token.row(t) >= 0 && *token.row(t) < table.rows, "[embed] token {} of {}",
                  *token.row(t), table.rows);
  const auto kernel = MOEBIUS_DISPATCH(embed_rows);
  crew_.rows(x.rows, x.cols, [&](std::int64_t begin, std::int64_t end) {
    kernel(token, seq, table, positions, x, begin, end);
  });
}

void Cpu::embed_backward(View token_view, std::int64_t seq, View dx_view, Weight table_weight,
                         Weight positions_weight) {
  const Ints token = token_view;
  const Floats dx = dx_view, dtable = gradient(table_weight),
               dpositions = gradient(positions_weight);
  check_shape(dx, token.rows, dtable.cols, "embed_backward dx");
  const auto scatter = MOEBIUS_DISPATCH(scatter_rows);
  const auto fold = MOEBIUS_DISPATCH(fold_sequences);
  crew_.ranges(dx.cols, kColumns, [&](std::int64_t begin, std::int64_t end) {
    scatter(dx_view, token, {}, dx.rows, dtable, begin, end);
    if (!dpositions.empty()) fold(dx, seq, dpositions, begin, end);
  });
}

void Cpu::gather(View x, const Routing& r, View y) {
  const Ints token = r.token;
  check_shape(y, token.rows, x.cols, "gather y");
  MOEBIUS_CHECK(x.dtype == y.dtype, "[gather] {} into {}", dtype_text(x.dtype),
                dtype_text(y.dtype));
  const std::int64_t size = size_of(x.dtype);
  crew_.rows(pairs(r), x.cols, [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t p = begin; p < end; ++p)
      std::copy_n(x.data + *token.row(p) * x.ld * size, x.cols * size, y.data + p * y.ld * size);
  });
}

void Cpu::gather_backward(View dy, const Routing& r, View dx_view) {
  const Floats dx = dx_view;
  check_shape(dy, r.token.rows, dx.cols, "gather_backward dy");
  const auto kernel = MOEBIUS_DISPATCH(scatter_rows);
  crew_.ranges(dx.cols, kColumns, [&](std::int64_t begin, std::int64_t end) {
    kernel(dy, r.token, {}, pairs(r), dx, begin, end);
  });
}

void Cpu::combine(View y, const Routing& r, View out_view) {
  const Floats out = out_view;
  check_shape(y, r.token.rows, out.cols, "combine y");
  fill(out_view, 0);
  const auto kernel = MOEBIUS_DISPATCH(scatter_rows);
  crew_.ranges(out.cols, kColumns, [&](std::int64_t begin, std::int64_t end) {
    kernel(y, r.token, r.weight, pairs(r), out, begin, end);
  });
}

void Cpu::combine_backward(View y, const Routing& r, View dout, View dy, View dweight_view) {
  const Floats dweight = dweight_view;
  check_shape(dy, r.token.rows, dout.cols, "combine_backward dy");
  check_shape(dweight, r.token.rows, 1, "combine_backward dweight");
  const auto kernel = MOEBIUS_DISPATCH(split_rows);
  crew_.rows(pairs(r), dout.cols, [&](std::int64_t begin, std::int64_t end) {
    kernel(y, r.token, r.weight, dout, dy, dweight, begin, end);
  });
}

}  // namespace moebius::cpu
#endif  // HWY_ONCE
