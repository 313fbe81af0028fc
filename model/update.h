#pragma once
#include <span>
#include <variant>

#include "model/view.h"

namespace moebius {

// Rules of optimizers that back-ends have kernels for. Each matrix of a slot is a tensor of its
// own.

// State: m and v, both [batch * rows, cols]. corrections: 1 - beta^t.
struct AdamW {
  double lr, beta1, beta2, epsilon, decay, correction1, correction2;
};
// Factored second moment (1804.04235, given rate), beta2 already at its value for step t.
// State: means of rows [batch * rows, 1] and of columns [batch, cols]; of a vector only one matrix,
// all of the second moment [batch * rows, cols].
struct Adafactor {
  double lr, beta2, epsilon, clip_rms, decay;
  // Above 0: the step counts times max(least_scale, RMS(w)), w before it (algorithm 4).
  double least_scale = 0;
};
using Rule = std::variant<AdamW, Adafactor>;

// What such a rule does to one weight in one step, with the state it keeps of it.
struct Update {
  Rule rule;
  std::span<const View> state;
};

}  // namespace moebius
