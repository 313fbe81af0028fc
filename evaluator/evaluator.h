#pragma once
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>

#include "evaluator/training/candidate.h"
#include "space/base/registry.h"
#include "space/cost.h"

namespace moebius {

// What is known of a candidate before it is trained: found once, and handed on.
struct Prepared {
  Cost cost;
  std::int64_t peak_bytes = 0;   // of the whole evaluation; 0 = not known
  std::string parts;             // what they are, for messages
  std::optional<Ending> ending;  // how it ends without training, if it does
  std::string message;           // why
};
// What an evaluation that ends so reports.
Outcome refused(const Prepared& prepared);

// Judges candidates. evaluate() is called from several threads at once, each with another
// candidate.
class Evaluator {
 public:
  virtual ~Evaluator() = default;
  virtual std::int64_t vocab() const = 0;  // V of what it trains on
  virtual std::string data_hash() const {
    return "";
  }  // identity of the corpus, stored with the study
  // Of products, as "auto" turns out here: "fp32" or "bf16"; "" when only the recipe says.
  virtual std::string precision() const { return ""; }
  // Error(BadInput) when the recipe cannot run on this data ("less than one window"); asked before
  // anything is written.
  virtual void check(const Recipe& /*recipe*/) const {}
  // CPU (or wall) seconds of one optimizer step of the first baseline, measured; 0 when the
  // evaluator has no clock.
  virtual double step_seconds(const Spec& /*spec*/, const Recipe& /*recipe*/, bool /*wall*/) {
    return 0;
  }
  // Whether a search trial's step is timed beside the baseline's, where the budget has a clock:
  // else nothing judges a step-time constraint.
  virtual bool compares_steps() const { return true; }
  // Pre-flight, nothing is trained. Does not throw what an architecture is to blame for.
  virtual Prepared prepare(const Candidate& candidate) const = 0;
  virtual Outcome evaluate(const Candidate& candidate, const Prepared& prepared,
                           Observer& observer) = 0;
  // Both at once.
  Outcome evaluate(const Candidate& candidate, Observer& observer) {
    return evaluate(candidate, prepare(candidate), observer);
  }
};

struct Catalog;  // model/catalog.h
struct EvaluatorOptions {
  std::string data;        // corpus: text, JSONL, directory, .bin, or "builtin"
  std::string tokenizer;   // "" = bytes, else a SentencePiece model
  std::int64_t vocab = 0;  // rows of the embedding table; 0 = the corpus' vocabulary
  std::string backend = "cpu", precision = "auto";
  int threads = 1;                // per trial
  std::string command;            // command evaluator: the program
  std::int64_t memory_limit = 0;  // bytes for all trials together; 0 = what the machine has free
  double timeout_seconds = 0;     // command evaluator
  const Catalog* catalog = nullptr;
};
struct EvaluatorPlugin {
  std::string help;
  std::function<std::unique_ptr<Evaluator>(const EvaluatorOptions&)> make;
};
const Registry<EvaluatorPlugin>& evaluators();  // of evaluators.def: proxy, synthetic, command

}  // namespace moebius
