#pragma once
#include <string>

#include "evaluator/corpus/corpus.h"
#include "model/learner.h"
#include "space/recipe.h"

namespace moebius {

// What the causality probe saw of one routing.
struct Sight {
  bool future = false;  // a later token changed an earlier number by a bit
  bool without_drops =
      false;  // also between two runs that dropped no pair of a token and an expert
};
struct Probed {
  Sight training;  // with the routing of training (Mode::Native)
  Sight ranked;    // in the mode that ranks (Mode::Causal)
};

// Probes one micro-batch of validation tokens in both modes: changes all tokens from some position
// on, in every row, and compares the logits of the positions before it bit by bit. Where T x V is
// above 2^23, it compares token losses instead. Several positions are tried. Weights and routing
// state stay.
Probed probe_causality(Learner& learner, const Corpus& corpus, const Recipe& recipe);

// Bytes that the probe needs beside the learner.
std::int64_t probe_bytes(const Recipe& recipe, std::int64_t vocab);

// `yes` where the future was not seen, `drops` when pairs were dropped wherever it was, else
// `selection`.
Causality measured_causality(const Sight& sight);

// What a trial stores of its training. A future that was seen counts as what the block declares
// where that is worse: drops hide a selection beside them. A block that declares to see it and
// `dropped` pairs in training does by drops at least, also where the probed tokens all had room.
Causality stored_causality(const Sight& training, Causality declared, bool dropped);

// "" or why the loss must not rank: the mode that ranks saw the future, which is an error of the
// program whatever the block declares, or its training did worse than declared. Finding less than
// declared is no contradiction: a few tokens do not show everything.
std::string why_not_as_declared(const Probed& probed, Causality declared);

}  // namespace moebius
