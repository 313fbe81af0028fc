#include <cmath>

#include "model/backends/cpu/cpu.h"
#include "model/backends/cpu/library.h"
#include "model/backends/shared.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "model/backends/cpu/attention.cpp"
#include <hwy/foreach_target.h>  // includes this file once per instruction set

#include "model/backends/cpu/simd-inl.h"

HWY_BEFORE_NAMESPACE();
namespace moebius::cpu::HWY_NAMESPACE {

// A block of queries of one head against all keys up to its end. Query i of the block sees keys
// 0 .. first + i. bias[j - i] is that of key j for query i of the block; null without a bias.

// z += bias; -> its maximum.
HWY_INLINE float add_bias(const float* bias, float* z, std::int64_t n) {
  if (bias == nullptr) return maximum(z, n);
  Vec top = all(kLowest);
  each(n, [&](auto part, std::int64_t j) HWY_ATTR {
    const Vec sum = hn::Add(part.load(z + j), part.load(bias + j));
    top = hn::Max(top, part.keep(sum, kLowest));
    part.store(sum, z + j);
  });
  return max_of(top);
}

// z -> p = softmax(z + bias), zero where j > first + i; lse_i = log sum_j exp(z_ij).
void softmax_block(const Floats& z, std::int64_t first, const float* bias, const Floats& lse) {
  for (std::int64_t i = 0; i < z.rows; ++i) {
    float* row = z.row(i);
    const std::int64_t seen = first + i + 1;
    const float top = add_bias(bias == nullptr ? nullptr : bias - i, row, seen);
    Vec sum = zero();
    each(seen, [&](auto part, std::int64_t j) HWY_ATTR {
      const Vec p = part.keep(exp_of(hn::Sub(part.load(row + j), all(top))), 0);
      sum = hn::Add(sum, p);
      part.store(p, row + j);
    });
    const float total = sum_of(sum);
    *lse.row(i) = top + std::log(total);
    const Vec share = all(1 / total);
    each(seen, [&](auto part, std::int64_t j)
                   HWY_ATTR { part.store(hn::Mul(part.load(row + j), share), row + j); });
    std::fill(row + seen, row + z.cols, 0.0f);
  }
}

// z -> p = exp(z + bias - lse), dp -> dz = p (dp - delta), dbias[j - i] += dz_ij; zeros as above.
void softmax_block_backward(const Floats& z, const Floats& dp, std::int64_t first,
                            const float* bias, const Floats& lse, const float* delta,
                            float* dbias) {
  for (std::int64_t i = 0; i < z.rows; ++i) {
    float *row = z.row(i), *grad = dp.row(i);
    const std::int64_t seen = first + i + 1;
    if (bias != nullptr) add_to(bias - i, row, seen);
    const Vec norm = all(*lse.row(i)), mean = all(delta[i]);
    each(seen, [&](auto part, std::int64_t j) HWY_ATTR {
      const Vec p = exp_of(hn::Sub(part.load(row + j), norm));
      part.store(p, row + j);
      part.store(hn::Mul(p, hn::Sub(part.load(grad + j), mean)), grad + j);
    });
    if (dbias != nullptr) add_to(grad, dbias - i, seen);
    std::fill(row + seen, row + z.cols, 0.0f);
    std::fill(grad + seen, grad + z.cols, 0.0f);
  }
}

// delta_i = do_i . o_i
void dot_rows(const View& a, const View& b, float* to) {
  typed(a.dtype, [&]<class T>() {
    for (std::int64_t i = 0; i < a.rows; ++i)
      to[i] = dot(Matrix<T>(a).row(i), Matrix<T>(b).row(i), a.cols);
  });
}

void store_sums(const Floats& from, const View& to) {
  typed(to.dtype, [&]<class T>() { copy_rows<T>(from, to); });
}

}  // namespace moebius::cpu::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace moebius::cpu {
namespace {

HWY_EXPORT(softmax_block);
HWY_EXPORT(softmax_block_backward);
HWY_EXPORT(dot_rows);
HWY_EXPORT(store_sums);

constexpr std::int64_t kQueries =
    48;  // of a block: whole register tiles, scores in L2 for S <= 2048

// Rows [begin, end) of sequence b, columns of head h, of a [B*S, H*width] buffer.
struct Head {
  std::int64_t row, index, width;
  View of(const View& v, std::int64_t begin, std::int64_t end) const {
    return v.row_range(row + begin, end - begin).columns(index * width, width);
  }
  // The same where a head has one column: lse.
  Floats column_of(const Floats& m, std::int64_t begin, std::int64_t end) const {
    return m.slice(row + begin, row + end).columns(index, index + 1);
  }
};
Head head_of(const AttentionShape& a, std::int64_t tile) {
  return {tile / a.heads * a.seq, tile % a.heads, a.head_dim};
}

void check_attention(const AttentionShape& a, std::initializer_list<View> rows, const Floats& bias,
                     const Floats& lse) {
  for (const View& v : rows)
    check_shape(v, a.batch * a.seq, a.heads * a.head_dim, "attention rows");
  check_shape(lse, a.batch * a.seq, a.heads, "attention lse");
  if (!bias.empty()) check_shape(bias, kRelativeBuckets, a.heads, "attention bias");
}

// The bias of one head by falling distance: [S - 1 - n] is that of distance n, so that the keys of
// a query read consecutive numbers.
void spread_bias(const Floats& bias, std::int64_t head, const std::vector<std::int32_t>& buckets,
                 std::int64_t seq, float* to) {
  for (std::int64_t n = 0; n < seq; ++n)
    to[seq - 1 - n] = bias.row(buckets[static_cast<std::size_t>(n)])[head];
}

}  // namespace

// Backward: bias and dbias by distance, delta, the scores and dscores of a block, dk and dv.
std::int64_t attention_scratch(std::int64_t seq, std::int64_t head_dim) {
  return 2 * seq + kQueries + 2 * kQueries * seq + 2 * seq * head_dim;
}

const std::vector<std::int32_t>& Cpu::buckets(std::int64_t seq) {
  while (std::ssize(buckets_) < seq)
    buckets_.push_back(static_cast<std::int32_t>(relative_bucket(std::ssize(buckets_))));
  return buckets_;
}

void Cpu::attention(const AttentionShape& a, View q, View k, View v, Weight bias_weight, View o,
                    View lse_view) {
  const Floats lse = lse_view, bias = value(bias_weight);
  check_attention(a, {q, k, v, o}, bias, lse);
  const std::vector<std::int32_t>& bucket = buckets(a.seq);
  const auto kernel = HWY_DYNAMIC_DISPATCH(softmax_block);
  crew_.run(a.batch * a.heads, [&](std::int64_t tile) {
    const Head head = head_of(a, tile);
    float* const by_distance = crew_.scratch(attention_scratch(a.seq, a.head_dim));
    float* const scores = by_distance + a.seq;
    Scratch& packing = crew_.packing();
    if (!bias.empty()) spread_bias(bias, head.index, bucket, a.seq, by_distance);
    for (std::int64_t first = 0; first < a.seq; first += kQueries) {
      const std::int64_t end = std::min(a.seq, first + kQueries);  // queries [first, end)
      const Floats z(scores, end - first, end);
      gemm(head.of(q, first, end), transpose(head.of(k, 0, end)), z.view(),
           {.operand = operand_, .scale = static_cast<float>(a.scale)}, packing);
      kernel(z, first, bias.empty() ? nullptr : by_distance + a.seq - 1 - first,
             head.column_of(lse, first, end));
      gemm(z.view(), head.of(v, 0, end), head.of(o, first, end), {.operand = operand_}, packing);
    }
  });
}

void Cpu::attention_backward(const AttentionShape& a, View q, View k, View v, Weight bias_weight,
                             View o, View lse_view, View dout, View dq, View dk, View dv) {
  const Floats lse = lse_view, bias = value(bias_weight);
  check_attention(a, {q, k, v, o, dout, dq, dk, dv}, bias, lse);
  const std::vector<std::int32_t>& bucket = buckets(a.seq);
  const auto kernel = HWY_DYNAMIC_DISPATCH(softmax_block_backward);
  const auto row_dots = HWY_DYNAMIC_DISPATCH(dot_rows);
  const auto store = HWY_DYNAMIC_DISPATCH(store_sums);
  const GemmOptions plain = {.operand = operand_};
  const GemmOptions scaled = {.operand = operand_, .scale = static_cast<float>(a.scale)};
  // dbias of each head of each sequence, [B*H, 32].
  float* const partial = crew_.shared(a.batch * a.heads * kRelativeBuckets);
  crew_.run(a.batch * a.heads, [&](std::int64_t tile) {
    const Head head = head_of(a, tile);
    float* const by_distance = crew_.scratch(attention_scratch(a.seq, a.head_dim));
    float* const dbias = by_distance + a.seq;
    float* const delta = dbias + a.seq;
    float* const scores = delta + kQueries;
    // Sums over blocks, in f32.
    const Floats dkey(scores + 2 * kQueries * a.seq, a.seq, a.head_dim);
    const Floats dvalue(dkey.data + dkey.size(), a.seq, a.head_dim);
    Scratch& packing = crew_.packing();
    const bool biased = !bias.empty();
    if (biased) spread_bias(bias, head.index, bucket, a.seq, by_distance);
    std::fill_n(dbias, a.seq, 0.0f);
    // From the last block, which sees every key and so overwrites dk and dv, to the first.
    for (std::int64_t first = (a.seq - 1) / kQueries * kQueries; first >= 0; first -= kQueries) {
      const std::int64_t end = std::min(a.seq, first + kQueries);
      GemmOptions add = plain, add_scaled = scaled;
      add.accumulate = add_scaled.accumulate = end < a.seq;
      const Floats z(scores, end - first, end);
      const Floats dz(scores + z.size(), end - first, end);
      const View query = head.of(q, first, end), grad = head.of(dout, first, end);
      row_dots(grad, head.of(o, first, end), delta);
      gemm(query, transpose(head.of(k, 0, end)), z.view(), scaled, packing);
      gemm(grad, transpose(head.of(v, 0, end)), dz.view(), plain, packing);
      const std::int64_t zero = a.seq - 1 - first;  // where the keys of query `first` begin
      kernel(z, dz, first, biased ? by_distance + zero : nullptr, head.column_of(lse, first, end),
             delta, biased ? dbias + zero : nullptr);
      gemm(transpose(z.view()), grad, dvalue.slice(0, end).view(), add, packing);
      gemm(transpose(dz.view()), query, dkey.slice(0, end).view(), add_scaled, packing);
      gemm(dz.view(), head.of(k, 0, end), head.of(dq, first, end), scaled, packing);
    }
    store(dkey, head.of(dk, 0, a.seq));
    store(dvalue, head.of(dv, 0, a.seq));
    if (!biased) return;
    float* const sums = partial + tile * kRelativeBuckets;
    std::fill_n(sums, kRelativeBuckets, 0.0f);
    for (std::int64_t n = 0; n < a.seq; ++n)
      sums[bucket[static_cast<std::size_t>(n)]] += dbias[a.seq - 1 - n];
  });
  if (bias.empty()) return;
  const Floats dbias = gradient(bias_weight);
  for (std::int64_t tile = 0; tile < a.batch * a.heads; ++tile)
    for (std::int64_t b = 0; b < kRelativeBuckets; ++b)
      dbias.row(b)[tile % a.heads] += partial[tile * kRelativeBuckets + b];
}

}  // namespace moebius::cpu
#endif  // HWY_ONCE
