#pragma once
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <vector>

namespace moebius {

class Tokenizer;  // evaluator/corpus/tokenizer.h

enum class Split { Train, Validation, Test };
std::string split_text(Split split);

// Windows of one optimizer step: B rows of S tokens and the S tokens that follow each.
struct TokenWindows {
  std::vector<std::int32_t> tokens, targets;  // B * S each
};

// Tokens of one text, cut into train, validation and test by the rule of docs/conventions.md.
// Immutable, shared by all trials. Small ones are read once into memory and verified; large ones
// are read as needed.
class Corpus {
 public:
  // `source`: a text file (documents end at blank lines), JSONL with "text", a directory of either,
  // an llm.c .bin (DIR/NAME_train.bin finds NAME_val.bin), or "builtin" (the generator).
  // `tokenizer`: "" = bytes, or a SentencePiece model. Error(BadInput) naming the text when a split
  // would be empty.
  static std::shared_ptr<const Corpus> open(const std::string& source,
                                            const std::string& tokenizer);
  virtual ~Corpus() = default;

  virtual std::int64_t vocab() const = 0;
  virtual std::int64_t size(Split split) const = 0;       // tokens
  virtual double bytes_per_token(Split split) const = 0;  // for bits per byte
  virtual std::int64_t documents(Split split) const = 0;
  virtual std::int64_t segments(Split split) const = 0;  // 0 = not known
  // How often each of the vocab() tokens is in the split.
  virtual std::vector<std::int64_t> counts(Split split) const = 0;
  virtual std::string hash() const = 0;      // XXH3-128 of tokens, splits and tokenizer
  virtual std::string describe() const = 0;  // one line: what it is and how it was cut
  // nullptr when the tokens came without their tokenizer (a foreign .bin).
  virtual std::shared_ptr<const Tokenizer> tokenizer() const = 0;
  // The batch of step t: row r is the window of S + 1 tokens at a place drawn uniformly from the
  // training split by Philox keyed by (seed, t), counter (r, draw): the same for every candidate. A
  // draw is repeated, at most 64 times, while the window shares a document with an earlier row of
  // the batch (where the split has at least 4 B documents; the last 32 draws, and smaller splits,
  // only may not overlap an earlier row). Needs one window in the split.
  virtual void train_batch(std::uint64_t seed, std::int64_t t, std::int64_t batch, std::int64_t seq,
                           TokenWindows& out) const = 0;
  // Fixed windows of a split: batch i of n = batches() has the windows i, i + n, i + 2n, .. of the
  // split cut into S tokens, so that they cover it once, never overlap, and rows of a batch lie far
  // apart.
  virtual std::int64_t batches(Split split, std::int64_t batch, std::int64_t seq) const = 0;
  virtual void fixed_batch(Split split, std::int64_t i, std::int64_t batch, std::int64_t seq,
                           TokenWindows& out) const = 0;
  // Mean -log p over the targets of the first `batches` fixed batches, p the exact next-token
  // probability given the whole document up to there: no model can do better on average. Known for
  // the generator; else NaN.
  virtual double floor(Split split, std::int64_t batch, std::int64_t seq,
                       std::int64_t batches) const = 0;
};

// Error(BadInput) unless the split has a window for every row of a fixed batch.
void check_windows(const Corpus& corpus, Split split, std::int64_t batch, std::int64_t seq);

}  // namespace moebius
