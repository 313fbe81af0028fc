// Switch routing (2101.03961): one expert per token, gate = its softmax probability.

#include "model/gatings/token_choice.h"

namespace moebius {

GatingPlugin gatings_top1() {
  return token_choice("one expert per token, gate = its probability (Switch)", 1, false);
}

}  // namespace moebius
