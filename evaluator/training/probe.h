#pragma once
#include <string>

#include "evaluator/corpus/corpus.h"
#include "model/learner.h"
#include "space/recipe.h"

namespace moebius {

// What the causality probe saw: token j of one row was changed; `native` or `causal` is true when a
// logit at a position before j, of any row, changed by a bit in that mode.
struct Leaks {
  bool native = false;  // with the training routing
  bool causal = false;  // in the mode that ranks
};
// Probes one micro-batch of validation tokens at several rows and positions. Where T x V is above
// 2^23, it compares token losses instead of logits.
Leaks probe_causality(Learner& learner, const Corpus& corpus, const Recipe& recipe);

// Bytes that the probe needs beside the learner.
std::int64_t probe_bytes(const Recipe& recipe, std::int64_t vocab);

// "" or how the probe contradicts what the block declares: `yes` never leaks, `selection` never in
// the causal mode.
std::string why_not_as_declared(const Leaks& leaks, Causality declared);

}  // namespace moebius
