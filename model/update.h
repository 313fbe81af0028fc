#pragma once
#include <variant>

#include "model/view.h"

namespace moebius {

struct AdamW {
  double lr, beta1, beta2, epsilon, decay, correction1, correction2;
};  // corrections: 1 - beta^t
// Factored second moment (1804.04235, no relative step), beta2 already at its value for step t.
// Each matrix of a batch is a tensor of its own.
struct Adafactor {
  double lr, beta2, epsilon, clip_rms, decay;
};
using Rule = std::variant<AdamW, Adafactor>;
// What an optimizer does to one weight in one step, and the state it keeps of it.
struct Update {
  Rule rule;
  // AdamW: m and v, both [batch * rows, cols]. Adafactor: means of rows [batch * rows, 1] and of
  // columns [batch, cols]; of a vector all of the second moment [batch * rows, cols], and nothing.
  View first, second;
};

}  // namespace moebius
