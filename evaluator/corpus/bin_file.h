#pragma once
#include <cstdint>
#include <span>
#include <string>

#include "evaluator/corpus/tokens.h"
#include "space/base/atomic_file.h"

namespace moebius {

// llm.c token files: 256 int32 (magic, version, number of tokens, zeros), then the tokens.
//   20240520, 1: uint16 (GPT-2: V = 50257, documents end with 50256)
//   20240801, 7: uint32 (Llama 3: V = 128256, documents end with 128001)
struct BinHeader {
  int width = 2;            // bytes per token
  std::int64_t tokens = 0;  // below 2^31
  std::int64_t vocab() const { return width == 2 ? 50257 : 128256; }
  std::int32_t end_of_text() const { return width == 2 ? 50256 : 128001; }
};
constexpr std::int64_t kBinHeaderBytes = 1024;

// Error(BadInput): not such a file, cut short, longer than it says.
BinHeader read_bin_header(const std::string& path);
// Owned when the file has at most `owned_limit` bytes, else read as needed. Error(BadInput) when it
// changes while it is read.
Tokens read_bin(const std::string& path, std::int64_t owned_limit);

// Writes one file of the kind that `vocab` needs; nothing is seen under its name before finish().
class BinWriter {
 public:
  BinWriter(const std::string& path, std::int64_t vocab);
  void add(std::span<const std::int32_t> ids);
  std::int64_t tokens() const { return tokens_; }
  void finish();

 private:
  void flush();

  std::string path_;
  AtomicFile file_;
  int width_;
  std::int64_t tokens_ = 0, written_ = kBinHeaderBytes;
  Tokens pending_;
};

}  // namespace moebius
