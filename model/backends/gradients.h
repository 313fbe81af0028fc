#pragma once
#include "model/params.h"
#include "model/update.h"

namespace moebius {

// What a kernel does with one contribution to the gradient of a weight.
struct Contribution {
  bool first = true;  // overwrite the gradient: its memory is of an earlier step, or never written
  bool last = true;   // the gradient is complete with this contribution
  // Where it is set, this contribution is the whole gradient of the step, and no memory is kept for
  // gradients of the weight: update the weight with it, unscaled, and add its squared norm to
  // norm2 [1,1] f64. Only products get one.
  const Update* update = nullptr;
  View norm2 = {};
};

// Products can update a weight while its gradient is near; other kernels only add to it.
enum class Producer { Product, Other };

// Where gradients go. One belongs to a learner, which counts what comes and decides what becomes of
// it; a back-end holds no state of a step.
class GradientSink {
 public:
  virtual ~GradientSink() = default;
  // Every kernel that computes a gradient of w asks once per call, before it touches the gradient
  // or, for an update, the weight. So does the dry back-end, which is how contributions are
  // counted.
  virtual Contribution next(Weight w, Producer by) = 0;
};

}  // namespace moebius
