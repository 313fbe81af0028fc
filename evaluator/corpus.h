#pragma once
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <vector>

namespace moebius {

enum class Split { Train, Validation, Test };
std::string split_text(Split split);

// Windows of one optimizer step: B rows of S tokens and the S tokens that follow each.
struct TokenWindows {
  std::vector<std::int32_t> tokens, targets;  // B * S each
};

// Tokens of one text, cut by document into train, validation and test (90 / 5 / 5 %; a single
// document is split at 90 %). Immutable, shared by all trials. Small ones are read once into memory
// and verified; large ones are mapped.
class Corpus {
 public:
  // `source`: a text file (documents end at blank lines), JSONL with "text", a directory of either,
  // an llm.c .bin (DIR/NAME_train.bin finds NAME_val.bin), or "builtin" (the generator).
  // `tokenizer`: "" = bytes, or a SentencePiece model. Error(BadInput) when there is less than one
  // window of `seq` per split.
  static std::shared_ptr<const Corpus> open(const std::string& source,
                                            const std::string& tokenizer);
  virtual ~Corpus() = default;

  virtual std::int64_t vocab() const = 0;
  virtual std::int64_t size(Split split) const = 0;       // tokens
  virtual double bytes_per_token(Split split) const = 0;  // for bits per byte
  virtual std::int64_t documents(Split split) const = 0;
  virtual std::string hash() const = 0;      // XXH3-128 of tokens, splits and tokenizer
  virtual std::string describe() const = 0;  // one line: what it is and how it was cut
  // The batch of step t: windows at positions keyed by (seed, t, row), the same for every
  // candidate. No two windows of a batch touch the same document where the corpus has enough of
  // them.
  virtual void train_batch(std::uint64_t seed, std::int64_t t, std::int64_t batch, std::int64_t seq,
                           TokenWindows& out) const = 0;
  // Fixed windows of a split: batch i of batches(), covering it without overlap, in a fixed
  // composition.
  virtual std::int64_t batches(Split split, std::int64_t batch, std::int64_t seq) const = 0;
  virtual void fixed_batch(Split split, std::int64_t i, std::int64_t batch, std::int64_t seq,
                           TokenWindows& out) const = 0;
  // Lowest reachable mean loss over the tokens that fixed_batch gives, where it is known (the
  // generator); else NaN.
  virtual double floor(Split split, std::int64_t batch, std::int64_t seq,
                       std::int64_t batches) const = 0;
};

}  // namespace moebius
