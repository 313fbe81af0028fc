#include "model/backends/cpu/attention_block.h"
#include "model/backends/cpu/cpu.h"
#include "model/backends/cpu/workspace.h"
#include "model/backends/shared.h"

namespace moebius::cpu {
namespace {

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

// One array after the other in a thread's scratch, each 64-byte aligned.
class Desk {
 public:
  Desk(Crew& crew, std::int64_t floats) : at_(crew.scratch(floats)), end_(at_ + floats) {}
  float* take(std::int64_t count) {
    float* const first = at_;
    at_ += round_up(count, 16);
    MOEBIUS_CHECK(at_ <= end_, "[attention] {} floats of scratch too few", at_ - end_);
    return first;
  }
  Packed pack(const Factor& b, Dtype operand) {
    return cpu::pack(b, operand, take(packed_floats(b.rows(), b.cols(), operand)));
  }

 private:
  float *at_, *end_;
};

// Between rows of scores. Not a power of two, or rows would push each other out of L1.
std::int64_t row_of_scores(std::int64_t seq) { return round_up(seq, 32) + 16; }
Floats scores(float* memory, std::int64_t seq, std::int64_t rows, std::int64_t cols) {
  Floats z(memory, rows, cols);
  z.ld = row_of_scores(seq);
  return z;
}
// The same after a kernel made operands of it: left factors as they lie.
View operands(const Floats& z, Dtype operand) {
  return {reinterpret_cast<std::byte*>(z.data), operand, z.rows, round_up(z.cols, 32),
          z.ld * size_of(Dtype::F32) / size_of(operand)};
}

}  // namespace

std::int64_t attention_scratch(std::int64_t seq, std::int64_t head_dim, Dtype operand) {
  const std::int64_t row = row_of_scores(seq), vector = kMargin + round_up(seq, 16);
  const std::int64_t across = packed_floats(head_dim, seq, operand);
  const std::int64_t along = packed_floats(seq, head_dim, operand);
  const std::int64_t forward = vector + kQueries * (1 + row + head_dim) + across + along;
  const std::int64_t backward =
      4 * vector + 2 * kKeys * row + round_up(seq * head_dim, 16) + 2 * across + 3 * along;
  return std::max(forward, backward);
}

std::int64_t attention_packing(std::int64_t seq, std::int64_t head_dim, Dtype operand) {
  static_assert(kKeys >= kQueries);
  return std::max({packed_gemm_scratch(kKeys, seq, head_dim, operand),
                   packed_gemm_scratch(kKeys, head_dim, round_up(seq, 32), operand),
                   packed_gemm_scratch(seq, head_dim, kKeys, operand)});
}

const std::vector<std::int32_t>& Cpu::buckets(std::int64_t seq) {
  while (std::ssize(buckets_) < seq)
    buckets_.push_back(static_cast<std::int32_t>(relative_bucket(std::ssize(buckets_))));
  return buckets_;
}

void Cpu::attend(const AttentionShape& a, View q, View k, View v, Weight bias_weight, View o,
                 View lse_view) {
  const Floats lse = lse_view, bias = value(bias_weight);
  check_attention(a, {q, k, v, o}, bias, lse);
  const std::vector<std::int32_t>& bucket = buckets(a.seq);
  const GemmOptions plain = {.operand = operand_};
  const auto scale = static_cast<float>(a.scale);
  crew_.run(a.batch * a.heads, [&](std::int64_t tile) {
    const Head head = head_of(a, tile);
    const HeldTiles tiles(operand_);
    Desk desk(crew_, attention_scratch(a.seq, a.head_dim, operand_));
    // By falling distance: the keys of a query read consecutive numbers.
    float* const by_distance = desk.take(a.seq + kMargin);
    float* const sums = desk.take(kQueries);
    float* const memory = desk.take(kQueries * row_of_scores(a.seq));
    float* const out = desk.take(kQueries * a.head_dim);
    const Packed keys = desk.pack(transpose(head.of(k, 0, a.seq)), operand_);
    const Packed values = desk.pack(head.of(v, 0, a.seq), operand_);
    Scratch& packing = crew_.packing();
    if (!bias.empty())
      for (std::int64_t n = 0; n < a.seq; ++n)
        by_distance[a.seq - 1 - n] =
            kLog2E * bias.row(bucket[static_cast<std::size_t>(n)])[head.index];
    for (std::int64_t first = 0; first < a.seq; first += kQueries) {
      const std::int64_t end = std::min(a.seq, first + kQueries);  // queries [first, end)
      const Floats z = scores(memory, a.seq, end - first, end);
      gemm(head.of(q, first, end), keys, z.view(), plain, packing);
      const View p = operands(z, operand_);
      softmax_block({z, p.cols, operand_, first, scale * kLog2E,
                     bias.empty() ? nullptr : by_distance + a.seq - 1 - first},
                    head.column_of(lse, first, end), sums);
      const Floats sum(out, end - first, a.head_dim);
      gemm(p, values, sum.view(), plain, packing);
      divide_rows(sum, sums, head.of(o, first, end));
    }
  });
}

void Cpu::attend_backward(const AttentionShape& a, View q, View k, View v, Weight bias_weight,
                          View o, View lse_view, View dout, View dq, View dk, View dv) {
  const Floats lse = lse_view, bias = value(bias_weight);
  check_attention(a, {q, k, v, o, dout, dq, dk, dv}, bias, lse);
  const std::vector<std::int32_t>& bucket = buckets(a.seq);
  const GemmOptions plain = {.operand = operand_};
  const auto scale = static_cast<float>(a.scale);
  // dbias of each head of each sequence, [B*H, 32].
  float* const partial = crew_.shared(a.batch * a.heads * kRelativeBuckets);
  crew_.run(a.batch * a.heads, [&](std::int64_t tile) {
    const Head head = head_of(a, tile);
    const HeldTiles tiles(operand_);
    const auto all = [&](const View& m) { return head.of(m, 0, a.seq); };
    const bool biased = !bias.empty();
    Desk desk(crew_, attention_scratch(a.seq, a.head_dim, operand_));
    float* const by_distance = desk.take(kMargin + a.seq) + kMargin;
    float* const dbias = desk.take(kMargin + a.seq) + kMargin;
    float* const norm = desk.take(a.seq);
    float* const delta = desk.take(a.seq);
    float* const z_memory = desk.take(kKeys * row_of_scores(a.seq));
    float* const dp_memory = desk.take(kKeys * row_of_scores(a.seq));
    const Floats dquery(desk.take(a.seq * a.head_dim), a.seq, a.head_dim);  // sums over blocks
    const Packed queries = desk.pack(all(q), operand_);
    const Packed queries_across = desk.pack(transpose(all(q)), operand_);
    const Packed grads = desk.pack(all(dout), operand_);
    const Packed grads_across = desk.pack(transpose(all(dout)), operand_);
    const Packed keys = desk.pack(all(k), operand_);
    Scratch& packing = crew_.packing();
    if (biased) {
      std::fill_n(dbias, a.seq, 0.0f);
      for (std::int64_t n = 0; n < a.seq; ++n)
        by_distance[n] = kLog2E * bias.row(bucket[static_cast<std::size_t>(n)])[head.index];
    }
    for (std::int64_t i = 0; i < a.seq; ++i) norm[i] = kLog2E * lse.row(head.row + i)[head.index];
    dot_rows(all(dout), all(o), delta);
    for (std::int64_t first = 0; first < a.seq; first += kKeys) {
      const std::int64_t end = std::min(a.seq, first + kKeys);  // keys [first, end)
      const Floats z = scores(z_memory, a.seq, end - first, a.seq - first);
      const Floats dp = scores(dp_memory, a.seq, end - first, a.seq - first);
      gemm(head.of(k, first, end), queries_across.from(0, first), z.view(), plain, packing);
      gemm(head.of(v, first, end), grads_across.from(0, first), dp.view(), plain, packing);
      const View p = operands(z, operand_), dz = operands(dp, operand_);
      softmax_block_backward({z, dp, p.cols, operand_, scale * kLog2E, norm + first, delta + first,
                              biased ? by_distance : nullptr, dbias});
      gemm(p, grads.from(first, 0), head.of(dv, first, end), plain, packing);
      gemm(dz, queries.from(first, 0), head.of(dk, first, end),
           {.operand = operand_, .scale = scale}, packing);
      GemmOptions add = plain;
      add.accumulate = first > 0;
      gemm(transpose(dz.columns(0, z.cols)), keys.from(first, 0), dquery.slice(first, a.seq).view(),
           add, packing);
      // No later key is seen by these.
      store_scaled(dquery.slice(first, end), scale, head.of(dq, first, end));
    }
    if (!biased) return;
    float* const sums = partial + tile * kRelativeBuckets;
    std::fill_n(sums, kRelativeBuckets, 0.0f);
    for (std::int64_t n = 0; n < a.seq; ++n) sums[bucket[static_cast<std::size_t>(n)]] += dbias[n];
  });
  if (bias.empty()) return;
  const Floats dbias = gradient(bias_weight);
  for (std::int64_t tile = 0; tile < a.batch * a.heads; ++tile)
    for (std::int64_t b = 0; b < kRelativeBuckets; ++b)
      dbias.row(b)[tile % a.heads] += partial[tile * kRelativeBuckets + b];
}

}  // namespace moebius::cpu
