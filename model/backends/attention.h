#pragma once
#include <cstdint>

#include "model/params.h"
#include "model/view.h"

namespace moebius {

struct AttentionShape {
  std::int64_t batch = 1, seq = 1, heads = 1, head_dim = 1;
  double scale = 1;  // of q.k
};

// What looks along a sequence: attention and positions. q, k, v, o: [T, H*K] (views may be columns
// of one buffer); lse [T, H] = log-sum-exp of each row of scores.
class AttentionKernels {
 public:
  virtual ~AttentionKernels() = default;
  // Rotates pairs (2i, 2i+1) of each head by position * base^(-2i/K), in place; inverse = the
  // transpose (RoPE, 2104.09864).
  virtual void rotate(View x, std::int64_t seq, std::int64_t heads, double base, bool inverse) = 0;
  // y[s] = sum_{j<3} taps[j] * x[s-j] per channel, within a sequence (Primer's depthwise
  // convolution, 2109.08668); taps [3, cols].
  virtual void causal_conv(View x, std::int64_t seq, Weight taps, View y) = 0;
  virtual void causal_conv_backward(View x, std::int64_t seq, Weight taps, View dy,
                                    View dx /* = */) = 0;
  // Causal softmax attention; `bias` [32, H] is a relative-position table by T5 bucket of
  // s_q - s_k, or empty.
  virtual void attend(const AttentionShape&, View q, View k, View v, Weight bias, View o,
                      View lse) = 0;
  virtual void attend_backward(const AttentionShape&, View q, View k, View v, Weight bias, View o,
                               View lse, View do_, View dq, View dk, View dv) = 0;
};

}  // namespace moebius
