#pragma once
#include "model/params.h"
#include "model/update.h"

namespace moebius {

// Optimizer steps, one pass over memory per weight. The gradient of the weight is complete.
class UpdateKernels {
 public:
  virtual ~UpdateKernels() = default;
  virtual void squared_norm(Weight w, View sum) = 0;  // of the gradient; [1,1] f64, +=
  // Scales the gradient by min(1, clip / sqrt(norm2)) (clip <= 0: not), and updates weight and
  // state with it. Destroys the gradient: the next contribution must be the first of a step.
  virtual void apply(Weight w, const Update& update, View norm2, double clip) = 0;
};

}  // namespace moebius
