#pragma once
#include <array>
#include <cstdint>
#include <string>
#include <vector>

namespace moebius {

// `moebius data prepare`: text into token files that open at once and may exceed memory.
struct PrepareOptions {
  std::string source;            // text file, JSONL or directory, as Corpus::open takes them
  std::string output;            // DIR/NAME
  std::string tokenizer;         // "" = bytes, or a SentencePiece model
  std::int64_t train_vocab = 0;  // > 0: train a SentencePiece model of so many pieces on its
                                 // training split
  std::int64_t deal = 0;         // as in deal_segments()
};
struct PreparedCorpus {
  std::vector<std::string> files;  // written, in order
  std::array<std::int64_t, 3> tokens{};
  std::int64_t vocab = 0;
  std::string hash;  // of the corpus
};

// Writes NAME_train.bin, NAME_val.bin, NAME_test.bin (llm.c), NAME.meta.json, and NAME.model when
// the tokenizer is a model. One pass to count, one to train a tokenizer, one to write, one document
// in memory at a time.
// Bytes are prepared to the very corpus that opening a text file gives. Error(BadInput) before
// anything is written.
PreparedCorpus prepare(const PrepareOptions& options);

}  // namespace moebius
