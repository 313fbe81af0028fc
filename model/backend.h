#pragma once
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "model/params.h"
#include "model/update.h"
#include "model/view.h"
#include "space/operation.h"

namespace moebius {

// The whole numeric surface. Letters as in DESIGN 2: T = B*S token rows, D width, F hidden, H
// heads, K head width, E experts, P routed (token, expert) pairs. Rows of a batch are sequences one
// after the other: row = b * S + s.
//
// backends/reference.cpp is the executable definition (naive loops, f64 or f32); cpu is the fast
// one; dry does nothing and measures. Contracts: outputs never alias inputs unless said; `=`
// overwrites, `+=` accumulates; gradients of weights accumulate; shapes are those of the
// views and never depend on data: ragged lists have a bound and a true count in a view. The same
// inputs give the same bits for any number of threads.

enum class Activation { Relu, Gelu, SquaredRelu, Silu };  // gelu: the exact one, x Phi(x)

// Which tokens are routed together: group g has tokens g * group_stride + i * token_stride, i <
// size.
struct Groups {
  std::int64_t count = 1, size = 1, group_stride = 1, token_stride = 1;
};

// Pairs sorted by expert: expert e owns rows [offset[e], offset[e+1]) of `token`, `weight` and of
// all [P, .] buffers. offset[E] is the true count; rows beyond it are undefined. Within an expert,
// rows are in token order.
struct Routing {
  View offset;  // [E+1, 1] i32
  View token;   // [Pmax, 1] i32
  View weight;  // [Pmax, 1] gate of the pair
  View choice;  // [T, k] i32 experts in order of preference (token choice; empty otherwise)
  View row;     // [T, k] i32 row of the pair, -1 = dropped (token choice; empty otherwise)
  std::int64_t expected = 0;  // static count of pairs, for cost and the dry run
};

struct AttentionShape {
  std::int64_t batch = 1, seq = 1, heads = 1, head_dim = 1;
  double scale = 1;  // of q.k
};

class Backend {
 public:
  virtual ~Backend() = default;
  // Of master weights, gradients, the residual stream and routing: f32, or f64 on reference.
  virtual Dtype dtype() const = 0;
  // Of what is multiplied with weights, and of all buffers inside a sub-layer: dtype(), or bf16,
  // rounded to the nearest, ties to even. Products always sum in f32 or better.
  virtual Dtype operand() const { return dtype(); }

  // --- memory and transport. allocate: zeroed, 64-byte aligned, owned by the back-end; nullptr
  // when the system refuses.
  virtual std::byte* allocate(std::int64_t bytes) = 0;
  virtual void write(View to, const void* from) = 0;  // dense rows of to.dtype, host -> view
  virtual void read(View from, void* to) = 0;         // view -> host, dense rows of from.dtype
  virtual void bind(const Params& params) = 0;        // before any kernel that takes a Weight
  virtual void weights_changed() {}  // after an optimizer step or restore: copies are stale
  // All gradients are zero from here on. Their memory may say otherwise, so that the first product
  // can overwrite it, until squared_norm or update has seen the weight.
  virtual void clear_gradients() = 0;
  virtual void initialise(
      Weight w, std::uint64_t key) = 0;  // by its Init; element i depends on (key, i) only
  // dry, reference: the products of the current step, Matmul or Attention; the first one after
  // weights_changed() starts a new list.
  virtual std::vector<Operation> products() const { return {}; }

  // --- elementwise
  virtual void fill(View y, double value) = 0;  // y = value
  // x[t] = table[token[t]] (+ positions[t mod S]); positions may be empty
  virtual void embed(View token, std::int64_t seq, Weight table, Weight positions, View x) = 0;
  virtual void embed_backward(View token, std::int64_t seq, View dx, Weight table,
                              Weight positions) = 0;
  // The residual stream and its norm, one pass: x += residual (unless empty), then
  // y = x * rstd * gain, rstd = 1/sqrt(mean_j x_j^2 + 1e-6) [T,1] (RMSNorm, 1910.07467)
  virtual void rms_norm(View x, View residual, Weight gain, View y, View rstd) = 0;
  // dx += the gradient of x, then rounded = dx (unless empty), in the type of that view
  virtual void rms_norm_backward(View x, Weight gain, View rstd, View dy, View dx,
                                 View rounded) = 0;
  virtual void multiply(View x, View y, View product) = 0;  // product = x y, by element
  // y = a(up), slope = a'(up): may be `up` itself, or empty. The backward pass is a multiplication.
  virtual void activate(Activation a, View up, View y, View slope) = 0;
  // y = a(gate) * up (GLU family, 2002.05202)
  virtual void glu(Activation a, View up, View gate, View y) = 0;
  virtual void glu_backward(Activation a, View up, View gate, View dy, View dup, View dgate) = 0;

  // --- products with parameters. Experts: x, y are [Pmax, .] rows sorted by expert, `offset`
  // [E+1,1] gives each its rows.
  virtual void matmul(View x, Weight w, View y) = 0;             // y = x W
  virtual void matmul_transposed(View y, Weight w, View x) = 0;  // x = y W^T
  // dx = dy W^T, or dx += it, then dW += x^T dy
  virtual void matmul_backward(View x, View dy, Weight w, View dx, bool accumulate) = 0;
  virtual void expert_matmul(View x, const Routing& r, Weight w,
                             View y) = 0;  // y[p] = x[p] W[e(p)]
  virtual void expert_matmul_backward(View x, View dy, const Routing& r, Weight w, View dx,
                                      bool accumulate) = 0;

  // --- attention. q, k, v, o: [T, H*K] (views may be columns of one buffer); lse [T, H] =
  // log-sum-exp of each row of scores. rotate pairs (2i, 2i+1) of each head by position *
  // base^(-2i/K), in place; inverse = the transpose (RoPE, 2104.09864)
  virtual void rotate(View x, std::int64_t seq, std::int64_t heads, double base, bool inverse) = 0;
  // y[s] = sum_{j<3} taps[j] * x[s-j] per channel, within a sequence (Primer's depthwise
  // convolution, 2109.08668); taps [3, cols]
  virtual void causal_conv(View x, std::int64_t seq, Weight taps, View y) = 0;
  virtual void causal_conv_backward(View x, std::int64_t seq, Weight taps, View dy,
                                    View dx /* = */) = 0;
  // causal softmax attention; `bias` [32, H] relative-position table by T5 bucket of s_q - s_k, or
  // empty
  virtual void attention(const AttentionShape&, View q, View k, View v, Weight bias, View o,
                         View lse) = 0;
  virtual void attention_backward(const AttentionShape&, View q, View k, View v, Weight bias,
                                  View o, View lse, View do_, View dq, View dk, View dv) = 0;

  // --- routing. logits, probs: [T, E].
  virtual void softmax(View logits, View probs) = 0;
  virtual void softmax_backward(View probs, View dprobs, View dlogits /* += */) = 0;
  // Token choice: the k best experts of each token (ties: lower expert); `renormalise` divides the
  // k gates by their sum + 1e-9 before capacity; places all first choices in token order, then
  // second ones; a choice beyond `capacity` per expert and group is dropped, its gate zero, the
  // others untouched (papers.md 2.3). capacity < 0 = dropless.
  virtual void choose_experts(View probs, const Groups&, std::int64_t capacity, bool renormalise,
                              Routing& r) = 0;
  // Expert choice (2202.09368): each expert takes the `capacity` best tokens of each group by probs
  // (ties: lower token), gate = probs. `threshold` [1,E] (State; empty to leave alone) follows the
  // lowest taken score (mean over groups): t <= 0 means not yet set, so the first call sets it,
  // later ones t += (1 - keep) * (score - t).
  virtual void choose_tokens(View probs, const Groups&, std::int64_t capacity, Weight threshold,
                             double keep, Routing& r) = 0;
  // Causal twin of expert choice: the pairs with probs > threshold, gate = probs. A token keeps at
  // most Pmax / T experts, its best ones (ties: lower expert), so no token can displace another.
  virtual void choose_above(View probs, Weight threshold, Routing& r) = 0;
  // dprobs += d(gates): through the renormalisation of choose_experts, or plain.
  virtual void choice_backward(View probs, const Routing& r, bool renormalise, View dweight,
                               View dprobs) = 0;
  // statistics[0] += E * sum_e f_e P_e (mean over groups; f: share of first choices before
  // capacity, no gradient), statistics[1] += mean logsumexp(logits)^2, statistics[2] += kept pairs,
  // statistics[3] += dropped pairs.
  virtual void router_losses(View logits, View probs, const Groups&, const Routing& r,
                             View statistics /* [1,4] f64 */) = 0;
  virtual void router_losses_backward(View logits, View probs, const Groups&, const Routing& r,
                                      double aux, double z, View dprobs /* += */,
                                      View dlogits /* += */) = 0;
  virtual void gather(View x, const Routing& r, View y) = 0;             // y[p] = x[token[p]]
  virtual void gather_backward(View dy, const Routing& r, View dx) = 0;  // dx[token[p]] += dy[p]
  virtual void combine(View y, const Routing& r,
                       View out) = 0;  // out = 0; out[token[p]] += weight[p] y[p]
  virtual void combine_backward(View y, const Routing& r, View dout, View dy, View dweight) = 0;

  // --- loss, fused with the output matmul: logits = h table^T in row chunks that are never all in
  // memory. loss[t] = -log softmax(logits)[target[t]] (nats). With dh (not empty): dh = scale *
  // d(sum loss)/dh, dtable += likewise.
  virtual void cross_entropy(View h, Weight table, View target, double scale,
                             View loss /* [T,1] f64 */, View dh) = 0;

  // --- optimizer, one pass over memory per slot
  virtual void squared_norm(Weight w, View sum) = 0;  // of the gradient; [1,1] f64, +=
  // Gradients are scaled by min(1, clip / sqrt(norm2)) on the fly (clip <= 0: not) and used up: to
  // be cleared before the next use.
  virtual void update(Weight w, const Update& update, View norm2, double clip) = 0;
  // The next *_backward product with w updates it as soon as its gradient is known, unscaled, and
  // adds that gradient's squared norm to norm2 [1,1] f64. No gradient of w is kept, nor memory for
  // one needed.
  virtual void update_in_backward(Weight w, const Update& update, View norm2) = 0;
};

struct BackendOptions {
  std::string precision = "auto";  // "fp32" | "bf16" | "f64" | "auto": the fastest here
  int threads = 1;  // of this trial; partitions are fixed, so bits do not depend on it
};
struct BackendPlugin {
  std::string help;
  std::function<std::unique_ptr<Backend>(const BackendOptions&)> make;
  // Bytes the back-end itself takes for a model whose micro-batch runs `products` (forward and
  // backward): packed weights, row tiles, scratchpads. Empty = nothing worth counting.
  std::function<std::int64_t(const Params&, const std::vector<Operation>& products,
                             const BackendOptions&)>
      library_bytes = {};
};

}  // namespace moebius
