#pragma once
#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace moebius {

// Text to token ids and back. Immutable, thread-safe.
class Tokenizer {
 public:
  virtual ~Tokenizer() = default;
  virtual std::int64_t vocab() const = 0;
  // The id that ends a document, -1 where documents end with bytes of their own.
  virtual std::int32_t end_of_text() const = 0;
  virtual std::vector<std::int32_t> encode(std::string_view text) const = 0;
  virtual std::string decode(std::span<const std::int32_t> ids) const = 0;
  // Of a document, or of a part of it: with `ends`, the id that ends a document follows.
  std::vector<std::int32_t> encode_piece(std::string_view text, bool ends) const;
  // "bytes", or the file of the model.
  virtual const std::string& source() const = 0;
  // "bytes", or the hash of the model's file: the same for equal tokenizers wherever they lie.
  virtual std::string identity() const = 0;
};

// "" or "bytes": one token a byte, V = 256, any input. Else a SentencePiece model file.
// Error(BadInput) when it cannot be read.
std::shared_ptr<const Tokenizer> open_tokenizer(const std::string& source);

// The tokenizer for a model whose tokens came from `own` ("" = not known, a foreign .bin) when the
// user has `given` one ("" = none). Error(BadInput) when there is no way to read the model's
// tokens.
std::string tokenizer_of(const std::string& own, const std::string& given);

// Trains a byte-pair SentencePiece model of `vocab` pieces that gives every valid UTF-8 text
// without U+2581 back byte for byte (byte fallback, no normalisation). Deterministic. `texts` hands
// text to its argument; at most the first 64 MiB are used. Returns the bytes of the model file.
// Error(BadInput) when the text does not give so many pieces.
using TakeText = std::function<void(std::string_view text)>;
std::string trained_tokenizer(const std::function<void(const TakeText& take)>& texts,
                              std::int64_t vocab);

}  // namespace moebius
