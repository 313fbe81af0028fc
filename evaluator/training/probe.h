#pragma once
#include <string>

#include "evaluator/corpus/corpus.h"
#include "model/learner.h"
#include "space/recipe.h"

namespace moebius {

// What the causality probe saw: a later token changed an earlier number by a bit.
struct Leaks {
  bool native = false;  // with the training routing
  bool causal = false;  // in the mode that ranks
  // The same between two runs that dropped no pair of a token and an expert.
  bool native_without_drops = false, causal_without_drops = false;
  bool any() const { return native || causal; }
  bool without_drops() const { return native_without_drops || causal_without_drops; }
};

// Probes one micro-batch of validation tokens: changes all tokens from some position on, in every
// row, and compares the logits of the positions before it bit by bit. Where T x V is above 2^23, it
// compares token losses instead. Several positions are tried. Weights and routing state stay.
Leaks probe_causality(Learner& learner, const Corpus& corpus, const Recipe& recipe);

// Bytes that the probe needs beside the learner.
std::int64_t probe_bytes(const Recipe& recipe, std::int64_t vocab);

// `yes` when no leak was found, `drops` when pairs were dropped wherever one was, else `selection`.
Causality measured_causality(const Leaks& leaks);

// What a trial stores. A leak that was found counts as what the block declares where that is worse:
// drops hide a selection beside them. A block that declares a leak and `dropped` pairs in training
// leaks by drops at least, also where the probed tokens all had room.
Causality stored_causality(const Leaks& leaks, Causality declared, bool dropped);

// "" or how the probe contradicts what the block declares: what it measured is worse, or a block
// that declares `selection` leaks otherwise than by drops in the mode that ranks. Finding less than
// declared is no contradiction: a few tokens do not show every leak.
std::string why_not_as_declared(const Leaks& leaks, Causality declared);

}  // namespace moebius
