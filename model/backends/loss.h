#pragma once
#include "model/params.h"
#include "model/view.h"

namespace moebius {

class LossKernels {
 public:
  virtual ~LossKernels() = default;
  // Fused with the output product: logits = h table^T in row chunks that are never all in memory.
  // loss[t] = -log softmax(logits)[target[t]] (nats). With dh (not empty): dh = scale *
  // d(sum loss)/dh, and the table gets one contribution likewise.
  virtual void cross_entropy(View h, Weight table, View target, double scale,
                             View loss /* [T,1] f64 */, View dh) = 0;
};

}  // namespace moebius
