#include "model/backends/cpu/amx.h"
#include "model/backends/cpu/cpu.h"
#include "model/backends/cpu/library.h"
#include "model/backends/shared.h"

#ifndef MOEBIUS_CPU_ATTENTION_BLOCK_
#define MOEBIUS_CPU_ATTENTION_BLOCK_
namespace moebius::cpu {

constexpr float kLog2E = 1.44269504f, kLn2 = 0.693147181f;
constexpr std::int64_t kQueries = 32, kKeys = 64;  // of a block, forward and backward
constexpr std::int64_t kMargin = 16;  // beside numbers by distance: vectors reach over the edge

// z = q k^T of some queries of a head and all keys up to the last of them: query i of the block
// sees keys 0 .. first + i. Becomes p in place, row by row, in the type of operands.
struct Forward {
  Floats z;
  std::int64_t padded;  // columns of p
  Dtype operand;
  std::int64_t first;
  float scale;        // of z; exponents are those of 2
  const float* bias;  // bias[j - i] log2 e is that of key j for query i; null without a bias
};

// z = k q^T, dp = v do^T of some keys and all queries from the first of them on: key i is seen by
// queries i ... They become p and dz.
struct Backward {
  Floats z, dp;
  std::int64_t padded;
  Dtype operand;
  float scale;
  const float *lse, *delta;  // of the queries; lse in powers of 2
  const float* bias;         // of distance j - i, as above
  float* dbias;
};

}  // namespace moebius::cpu
#endif

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "model/backends/cpu/attention.cpp"
#include <hwy/foreach_target.h>  // includes this file once per instruction set

#include "model/backends/cpu/multiply-inl.h"
#include "model/backends/cpu/simd-inl.h"

HWY_BEFORE_NAMESPACE();
namespace moebius::cpu::HWY_NAMESPACE {

// p(x) by Horner, highest coefficient first. Unrolled: in a loop every coefficient is a load.
template <std::size_t N>
HWY_INLINE Vec polynomial(Vec x, const float (&coefficient)[N]) {
  Vec p = all(coefficient[0]);
#pragma GCC unroll 8
  for (std::size_t i = 1; i < N; ++i) p = hn::MulAdd(p, x, all(coefficient[i]));
  return p;
}

// 2^x; at most 2^-126 where that is below it, a NaN stays one. Relative error 1e-7, and 4e-6 for
// what is rounded to bf16. x = k + r, r in [0, 1).
template <class T>
HWY_INLINE Vec exp2_of(Vec x) {
#if HWY_TARGET == HWY_AVX3
  Vec r;  // x - floor(x)
  asm("vreduceps $9, %1, %0" : "=v"(r.raw) : "v"(x.raw));
#else
  x = hn::Max(all(-126.0f), x);  // this order of operands keeps a NaN
  const Vec k = hn::Floor(x), r = hn::Sub(x, k);
#endif
  Vec p;
  if constexpr (sizeof(T) == 2)
    p = polynomial(r, {0.0136703095f, 0.0517449978f, 0.241604357f, 0.692972922f, 1.00000349f});
  else
    p = polynomial(r, {0.00189375406f, 0.00894959042f, 0.0558603371f, 0.240141818f, 0.69315449f,
                       0.999999898f});
#if HWY_TARGET == HWY_AVX3
  asm("vscalefps %1, %0, %0" : "+v"(p.raw) : "v"(x.raw));  // by 2^floor(x)
  return p;
#else
  const hn::RebindToSigned<Tag> integers;
  const auto exponent = hn::ShiftLeft<23>(hn::ConvertTo(integers, k));
  return hn::BitCast(kTag, hn::Add(hn::BitCast(integers, p), exponent));
#endif
}

// log2(x) to 1e-7, or of itself for large ones; x > 0 and normal. x = 2^k (1 + s), s in
// [-1/3, 1/3).
HWY_INLINE Vec log2_of(Vec x) {
  const hn::RebindToSigned<Tag> integers;
  const auto bits = hn::BitCast(integers, x);
  const auto k = hn::ShiftRight<23>(hn::Sub(bits, hn::Set(integers, 0x3f2aaaab)));
  const Vec s = hn::Sub(hn::BitCast(kTag, hn::Sub(bits, hn::ShiftLeft<23>(k))), all(1.0f));
  const Vec p = polynomial(s, {-0.216992352f, 0.24672696f, -0.237799677f, 0.285604463f,
                               -0.360733577f, 0.480964581f, -0.721347312f, 1.44269481f});
  const Vec log = hn::MulAdd(p, s, hn::ConvertTo(kTag, k));
  return hn::IfThenElse(hn::IsNaN(x), x, log);
}

// Rows of scores have room for whole vectors: only what is computed in the last one is masked,
// where an element beyond n becomes `otherwise`.
HWY_INLINE Vec load(const float* from) { return hn::LoadU(kTag, from); }
HWY_INLINE Vec up_to(std::int64_t n, std::int64_t j, Vec v, float otherwise) {
  return j + kLanes <= n ? v : Tail{n - j}.keep(v, otherwise);
}

// Of n numbers; two maxima at a time, because each waits for the one before.
HWY_INLINE float largest(const float* x, std::int64_t n) {
  const std::int64_t last = (n - 1) / kLanes * kLanes;
  Vec a = Tail{n - last}.keep(load(x + last), kLowest), b = a;
  std::int64_t j = 0;
  for (; j + 2 * kLanes <= last; j += 2 * kLanes) {
    a = hn::Max(a, load(x + j));
    b = hn::Max(b, load(x + j + kLanes));
  }
  if (j < last) a = hn::Max(a, load(x + j));
  return max_of(hn::Max(a, b));
}

// z = scale z + bias in powers of 2; -> its maximum.
HWY_INLINE float add_bias(const float* bias, float scale, float* z, std::int64_t n) {
  Vec top = all(kLowest);
  const Vec factor = all(scale);
  for (std::int64_t j = 0; j < n; j += kLanes) {
    const Vec sum = hn::MulAdd(load(z + j), factor, load(bias + j));
    top = hn::Max(top, up_to(n, j, sum, kLowest));
    Whole().store(sum, z + j);
  }
  return max_of(top);
}

// Stores as an operand, rounded by `Multiply`.
template <class Multiply>
HWY_INLINE void store_operand(Vec v, float* to) {
  Whole().store(v, to);
}
template <class Multiply>
HWY_INLINE void store_operand(Vec v, Bf16* to) {
  Whole().store(Multiply::round(v), to);
}
// Zeros, a vector at a time, from `to` up to `end` at least.
template <class T>
HWY_INLINE void clear(T* to, const T* end) {
  for (; to < end; to += kLanes) Whole().store(zero(), to);
}

// body.operator()<T, Multiply>() for a type of operands.
template <class Body>
void with_operand(Dtype operand, const Body& body) {
  if (operand == Dtype::F32) return body.template operator()<float, MultiplyF32>();
  if (bf16_unit() == Bf16Unit::Emulated) return body.template operator()<Bf16, MultiplyBf16>();
  body.template operator()<Bf16, MultiplyBf16Native>();
}

// p_ij = exp(scale z_ij + bias - top_i), zero where query i does not see key j; its sums.
template <class T, class Multiply>
void exponentials(const Forward& f, float* tops, float* sums) {
  for (std::int64_t i = 0; i < f.z.rows; ++i) {
    float* const row = f.z.row(i);
    T* const p = reinterpret_cast<T*>(row);  // narrower: never ahead of what is read
    const std::int64_t seen = f.first + i + 1;
    const float scale = f.bias == nullptr ? f.scale : 1;
    tops[i] =
        f.bias == nullptr ? largest(row, seen) * scale : add_bias(f.bias - i, f.scale, row, seen);
    const Vec factor = all(scale), top = all(tops[i]);
    Vec sum = zero();
    for (std::int64_t j = 0; j < seen; j += kLanes) {
      const Vec e = up_to(seen, j, exp2_of<T>(hn::MulSub(load(row + j), factor, top)), 0);
      sum = hn::Add(sum, e);
      store_operand<Multiply>(e, p + j);
    }
    sums[i] = sum_of(sum);
    clear(p + round_up(seen, kLanes), p + f.padded);
  }
}

// z -> p; lse_i = log sum_j exp(scale z_ij + bias), sums_i = sum_j p_ij.
void softmax_block(const Forward& f, const Floats& lse, float* sums) {
  HWY_ALIGN float tops[kQueries];
  with_operand(f.operand, [&]<class T, class M>() { exponentials<T, M>(f, tops, sums); });
  each(f.z.rows, [&](auto part, std::int64_t i) HWY_ATTR {
    const Vec log = log2_of(part.keep(part.load(sums + i), 1));
    part.store(hn::Mul(hn::Add(part.load(tops + i), log), all(kLn2)), tops + i);
  });
  for (std::int64_t i = 0; i < f.z.rows; ++i) *lse.row(i) = tops[i];
}

// to = from / sums, row by row
template <class T>
void divide_rows_typed(const Floats& from, const float* sums, const Matrix<T>& to) {
  for (std::int64_t i = 0; i < from.rows; ++i) {
    const Vec share = all(1 / sums[i]);
    each(from.cols, [&](auto part, std::int64_t j) HWY_ATTR {
      part.store(hn::Mul(part.load(from.row(i) + j), share), to.row(i) + j);
    });
  }
}
void divide_rows(const Floats& from, const float* sums, const View& to) {
  typed(to.dtype, [&]<class T>() { divide_rows_typed<T>(from, sums, to); });
}

// p = exp(scale z + bias - lse), dz = scale p (dp - delta), dbias[j - i] += dz_ij.
template <class T, class Multiply, bool kBiased>
void softmax_backward_typed(const Backward& b) {
  const Vec scale = all(b.scale), exponent = all(b.scale * kLog2E);
  for (std::int64_t i = 0; i < b.z.rows; ++i) {
    float *z = b.z.row(i), *dp = b.dp.row(i);
    T *p = reinterpret_cast<T*>(z), *dz = reinterpret_cast<T*>(dp);
    const std::int64_t begin = i / kLanes * kLanes;  // the vector where key i is seen first
    const std::int64_t end = b.z.cols;
    for (std::int64_t j = begin; j < end; j += kLanes) {
      Vec norm = load(b.lse + j);
      if constexpr (kBiased) norm = hn::Sub(norm, load(b.bias + j - i));
      Vec e = exp2_of<T>(hn::MulSub(load(z + j), exponent, norm));
      Vec slope = hn::Mul(hn::Mul(e, scale), hn::Sub(load(dp + j), load(b.delta + j)));
      if (j < i) {  // these do not see the key
        const auto unseen = hn::FirstN(kTag, static_cast<std::size_t>(i - j));
        e = hn::IfThenZeroElse(unseen, e);
        slope = hn::IfThenZeroElse(unseen, slope);
      }
      e = up_to(end, j, e, 0);
      slope = up_to(end, j, slope, 0);
      store_operand<Multiply>(e, p + j);
      store_operand<Multiply>(slope, dz + j);
      if constexpr (kBiased) {
        float* const sum = b.dbias + j - i;
        Whole().store(hn::Add(load(sum), slope), sum);
      }
    }
    for (T* const m : {p, dz}) {
      clear(m, m + begin);
      clear(m + begin + round_up(end - begin, kLanes), m + b.padded);
    }
  }
}
void softmax_block_backward(const Backward& b) {
  with_operand(b.operand, [&]<class T, class M>() {
    if (b.bias == nullptr)
      softmax_backward_typed<T, M, false>(b);
    else
      softmax_backward_typed<T, M, true>(b);
  });
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
HWY_EXPORT(divide_rows);
HWY_EXPORT(dot_rows);
HWY_EXPORT(store_sums);

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

// One array after the other, each 64-byte aligned.
class Floor {
 public:
  explicit Floor(float* memory) : at_(memory) {}
  float* take(std::int64_t count) {
    float* const first = at_;
    at_ += round_up(count, 16);
    return first;
  }
  Packed pack(const Factor& b, Dtype operand) {
    return cpu::pack(b, operand, take(packed_floats(b.rows(), b.cols(), operand)));
  }

 private:
  float* at_;
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
  const std::int64_t vectors = 2 * (kMargin + round_up(seq, 16)) + 2 * round_up(seq, 16);
  return vectors + 2 * kKeys * row_of_scores(seq) + round_up(seq * head_dim, 16) +
         2 * packed_floats(head_dim, seq, operand) + 3 * packed_floats(seq, head_dim, operand);
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

void Cpu::attention(const AttentionShape& a, View q, View k, View v, Weight bias_weight, View o,
                    View lse_view) {
  const Floats lse = lse_view, bias = value(bias_weight);
  check_attention(a, {q, k, v, o}, bias, lse);
  const std::vector<std::int32_t>& bucket = buckets(a.seq);
  const auto kernel = HWY_DYNAMIC_DISPATCH(softmax_block);
  const auto divide = HWY_DYNAMIC_DISPATCH(divide_rows);
  const GemmOptions plain = {.operand = operand_};
  crew_.run(a.batch * a.heads, [&](std::int64_t tile) {
    const Head head = head_of(a, tile);
    const amx::Session session;
    Floor floor(crew_.scratch(attention_scratch(a.seq, a.head_dim, operand_)));
    // By falling distance: the keys of a query read consecutive numbers.
    float* const by_distance = floor.take(a.seq + kMargin);
    float* const sums = floor.take(kQueries);
    float* const memory = floor.take(kQueries * row_of_scores(a.seq));
    float* const out = floor.take(kQueries * a.head_dim);
    const Packed keys = floor.pack(transpose(head.of(k, 0, a.seq)), operand_);
    const Packed values = floor.pack(head.of(v, 0, a.seq), operand_);
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
      kernel({z, p.cols, operand_, first, static_cast<float>(a.scale) * kLog2E,
              bias.empty() ? nullptr : by_distance + a.seq - 1 - first},
             head.column_of(lse, first, end), sums);
      const Floats sum(out, end - first, a.head_dim);
      gemm(p, values, sum.view(), plain, packing);
      divide(sum, sums, head.of(o, first, end));
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
  // dbias of each head of each sequence, [B*H, 32].
  float* const partial = crew_.shared(a.batch * a.heads * kRelativeBuckets);
  crew_.run(a.batch * a.heads, [&](std::int64_t tile) {
    const Head head = head_of(a, tile);
    const amx::Session session;
    const auto all = [&](const View& m) { return head.of(m, 0, a.seq); };
    const bool biased = !bias.empty();
    Floor floor(crew_.scratch(attention_scratch(a.seq, a.head_dim, operand_)));
    float* const by_distance = floor.take(kMargin + a.seq) + kMargin;
    float* const dbias = floor.take(kMargin + a.seq) + kMargin;
    float* const norm = floor.take(a.seq);
    float* const delta = floor.take(a.seq);
    float* const z_memory = floor.take(kKeys * row_of_scores(a.seq));
    float* const dp_memory = floor.take(kKeys * row_of_scores(a.seq));
    const Floats dquery(floor.take(a.seq * a.head_dim), a.seq, a.head_dim);  // sums over blocks
    const Packed queries = floor.pack(all(q), operand_);
    const Packed queries_across = floor.pack(transpose(all(q)), operand_);
    const Packed grads = floor.pack(all(dout), operand_);
    const Packed grads_across = floor.pack(transpose(all(dout)), operand_);
    const Packed keys = floor.pack(all(k), operand_);
    Scratch& packing = crew_.packing();
    if (biased) {
      std::fill_n(dbias, a.seq, 0.0f);
      for (std::int64_t n = 0; n < a.seq; ++n)
        by_distance[n] = kLog2E * bias.row(bucket[static_cast<std::size_t>(n)])[head.index];
    }
    for (std::int64_t i = 0; i < a.seq; ++i) norm[i] = kLog2E * lse.row(head.row + i)[head.index];
    row_dots(all(dout), all(o), delta);
    for (std::int64_t first = 0; first < a.seq; first += kKeys) {
      const std::int64_t end = std::min(a.seq, first + kKeys);  // keys [first, end)
      const Floats z = scores(z_memory, a.seq, end - first, a.seq - first);
      const Floats dp = scores(dp_memory, a.seq, end - first, a.seq - first);
      gemm(head.of(k, first, end), queries_across.from(0, first), z.view(), plain, packing);
      gemm(head.of(v, first, end), grads_across.from(0, first), dp.view(), plain, packing);
      const View p = operands(z, operand_), dz = operands(dp, operand_);
      kernel({z, dp, p.cols, operand_, static_cast<float>(a.scale), norm + first, delta + first,
              biased ? by_distance : nullptr, dbias});
      gemm(p, grads.from(first, 0), head.of(dv, first, end), plain, packing);
      gemm(dz, queries.from(first, 0), head.of(dk, first, end), plain, packing);
      GemmOptions add = plain;
      add.accumulate = first > 0;
      gemm(transpose(dz.columns(0, z.cols)), keys.from(first, 0), dquery.slice(first, a.seq).view(),
           add, packing);
      // No later key is seen by these.
      store(dquery.slice(first, end), head.of(dq, first, end));
    }
    if (!biased) return;
    float* const sums = partial + tile * kRelativeBuckets;
    std::fill_n(sums, kRelativeBuckets, 0.0f);
    const float unscale = 1 / static_cast<float>(a.scale);
    for (std::int64_t n = 0; n < a.seq; ++n)
      sums[bucket[static_cast<std::size_t>(n)]] += dbias[n] * unscale;
  });
  if (bias.empty()) return;
  const Floats dbias = gradient(bias_weight);
  for (std::int64_t tile = 0; tile < a.batch * a.heads; ++tile)
    for (std::int64_t b = 0; b < kRelativeBuckets; ++b)
      dbias.row(b)[tile % a.heads] += partial[tile * kRelativeBuckets + b];
}

}  // namespace moebius::cpu
#endif  // HWY_ONCE
