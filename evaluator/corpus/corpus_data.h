#pragma once
#include <array>
#include <cmath>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "evaluator/corpus/corpus.h"
#include "evaluator/corpus/tokenizer.h"
#include "evaluator/corpus/tokens.h"

namespace moebius {

// A corpus as its readers leave it: what corpus.cpp cuts windows from.

struct SplitData {
  std::shared_ptr<const Tokens> tokens;
  std::vector<std::int64_t> starts;  // of its documents, as positions in `tokens`, rising
  double bytes = std::nan("");       // of text; NaN when not known
  std::int64_t segments = 0;         // 0 = not known
};

struct CorpusData {
  std::array<SplitData, 3> splits;  // by Split
  std::int64_t vocab = 0;
  std::shared_ptr<const Tokenizer> tokenizer;  // nullptr when not known
  std::string source, cut;                     // what it is and how it was cut, for people
  bool generated = false;
  SplitData& operator[](Split split) { return splits[static_cast<std::size_t>(split)]; }
  const SplitData& operator[](Split split) const { return splits[static_cast<std::size_t>(split)]; }
};

// Text and JSONL, files and directories. Error(BadInput) when it does not fit a quarter of memory.
CorpusData read_text_corpus(const std::string& source, const std::string& tokenizer);
// llm.c .bin, with or without the sidecar that `data prepare` writes. Error(BadInput) for a token
// outside the vocabulary, with its offset.
CorpusData read_bin_corpus(const std::string& path);
// Two million tokens of the generator (evaluator/corpus/generator.h), the same everywhere.
CorpusData generate_corpus();

// XXH3-128 of the tokens (as u32), document starts, vocabulary and tokenizer of all splits.
std::string corpus_hash(const CorpusData& data);

// What `data prepare` writes beside NAME_train.bin: NAME.meta.json, "moebius.tokens/1".
struct Sidecar {
  std::string tokenizer = "bytes";  // or the model's file name, in the same directory
  std::int64_t vocab = 256;
  std::int32_t end_of_text = -1;
  std::string hash;                        // of the corpus
  std::array<double, 3> bytes{};           // of text, by split
  std::array<std::int64_t, 3> segments{};  // by split; zeros when not known
  std::int64_t deal = 0;                   // as in deal_segments()
};
void write_sidecar(const std::string& path, const Sidecar& sidecar);
Sidecar read_sidecar(const std::string& path);

// The files of a tokenized corpus, from the path of its training split.
struct BinNames {
  explicit BinNames(const std::string& train_bin);
  std::string stem;                   // DIR/NAME
  std::array<std::string, 3> splits;  // [0] as given; [1] and [2] empty unless it is NAME_train.bin
};
constexpr const char* kSidecarEnd = ".meta.json";

}  // namespace moebius
