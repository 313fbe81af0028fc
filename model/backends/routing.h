#pragma once
#include <cstdint>

#include "model/params.h"
#include "model/view.h"

namespace moebius {

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

// From router scores to pairs, and rows of tokens to rows of pairs and back. logits, probs: [T, E].
class RoutingKernels {
 public:
  virtual ~RoutingKernels() = default;
  virtual void softmax(View logits, View probs) = 0;
  virtual void softmax_backward(View probs, View dprobs, View dlogits /* += */) = 0;
  // Token choice: the k best experts of each token (ties: lower expert); `renormalise` divides the
  // k gates by their sum + 1e-9 before capacity; places all first choices in token order, then
  // second ones; a choice beyond `capacity` per expert and group is dropped, its gate zero, the
  // others untouched (papers.md 2.3). capacity < 0 = dropless.
  virtual void choose_experts(View probs, const Groups&, std::int64_t capacity, bool renormalise,
                              Routing& r) = 0;
  // Expert choice (2202.09368): each expert takes the `capacity` best tokens of each group by probs
  // (ties: lower token), gate = probs. `lowest` [1,E+1] (Sum; empty to leave alone) += the lowest
  // taken score of every group, one group after the other, so that micro-batches do not matter;
  // the last column counts the groups.
  virtual void choose_tokens(View probs, const Groups&, std::int64_t capacity, Weight lowest,
                             Routing& r) = 0;
  // `threshold` [1,E] (State) follows the mean m of the groups in `lowest`, which is zero
  // afterwards: t <= 0 means not yet set, so the first call sets it, later ones
  // t += (1 - keep) * (m - t).
  virtual void follow_lowest(Weight threshold, Weight lowest, double keep) = 0;
  // Causal twin of expert choice: the pairs with probs > threshold, gate = probs. Of the experts
  // above their thresholds a token keeps at most Pmax / T, its best ones (ties: lower expert), so
  // no token can displace another.
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
  // y[p] = x[token[p]]
  virtual void gather(View x, const Routing& r, View y) = 0;
  // dx[token[p]] += dy[p]
  virtual void gather_backward(View dy, const Routing& r, View dx) = 0;
  // out = 0; out[token[p]] += weight[p] y[p]
  virtual void combine(View y, const Routing& r, View out) = 0;
  // dy[p] = weight[p] dout[token[p]], dweight[p] = y[p] . dout[token[p]]
  virtual void combine_backward(View y, const Routing& r, View dout, View dy, View dweight) = 0;
};

}  // namespace moebius
