#include "evaluator/corpus/bin_file.h"

#include <sys/stat.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>
#include <fstream>

#include "space/base/check.h"

namespace moebius {
namespace {

struct Kind {
  std::int32_t magic, version;
  int width;
};
constexpr std::array<Kind, 2> kKinds = {{{20240520, 1, 2}, {20240801, 7, 4}}};
constexpr const char* kAllowed = "llm.c .bin (magic 20240520, version 1; or 20240801, version 7)";
constexpr std::int64_t kFlushBytes = 1 << 20;

struct stat status_of(const std::string& path) {
  struct stat status {};
  if (stat(path.c_str(), &status) != 0)
    bad_input(path, std::string("cannot be read: ") + std::strerror(errno));
  if (!S_ISREG(status.st_mode)) bad_input(path, "not a regular file");
  return status;
}

std::array<std::int32_t, 256> header_words(const Kind& kind, std::int64_t tokens) {
  std::array<std::int32_t, 256> words{};
  words[0] = kind.magic;
  words[1] = kind.version;
  words[2] = static_cast<std::int32_t>(tokens);
  return words;
}

}  // namespace

BinHeader read_bin_header(const std::string& path) {
  const std::int64_t size = status_of(path).st_size;
  std::array<std::int32_t, 256> words{};
  std::ifstream file(path, std::ios::binary);
  if (!file.read(reinterpret_cast<char*>(words.data()), kBinHeaderBytes))
    bad_input(path, "shorter than the header of a token file", kAllowed,
              std::to_string(size) + " bytes");
  for (const Kind& kind : kKinds) {
    if (words[0] != kind.magic || words[1] != kind.version) continue;
    const BinHeader header{kind.width, words[2]};
    const std::int64_t expected = kBinHeaderBytes + header.tokens * kind.width;
    if (header.tokens <= 0 || size != expected)
      bad_input(path, "its header says " + std::to_string(words[2]) + " tokens",
                std::to_string(expected) + " bytes", std::to_string(size) + " bytes");
    return header;
  }
  bad_input(path, "not a token file", kAllowed,
            "magic " + std::to_string(words[0]) + ", version " + std::to_string(words[1]));
}

Tokens read_bin(const std::string& path, std::int64_t owned_limit) {
  const auto before = status_of(path);
  const BinHeader header = read_bin_header(path);
  if (before.st_size > owned_limit)
    return Tokens::in_file(path, kBinHeaderBytes, header.tokens, header.width);
  Tokens tokens(header.width);
  std::ifstream file(path, std::ios::binary);
  file.seekg(kBinHeaderBytes);
  const std::span<std::byte> room = tokens.extend(header.tokens);
  if (!file.read(reinterpret_cast<char*>(room.data()), static_cast<std::streamsize>(room.size())))
    bad_input(path, "changed while it was read; try again");
  const auto after = status_of(path);
  if (after.st_size != before.st_size || after.st_mtim.tv_sec != before.st_mtim.tv_sec ||
      after.st_mtim.tv_nsec != before.st_mtim.tv_nsec)
    bad_input(path, "changed while it was read; try again");
  return tokens;
}

BinWriter::BinWriter(const std::string& path, std::int64_t vocab)
    : path_(path), file_(path), width_(std::max(2, Tokens::width_for(vocab))), pending_(width_) {}

void BinWriter::add(std::span<const std::int32_t> ids) {
  pending_.append(ids);
  tokens_ += static_cast<std::int64_t>(ids.size());
  if (tokens_ > INT32_MAX)
    bad_input(path_, "more tokens than a .bin file counts", "at most 2147483647");
  if (pending_.size() * width_ >= kFlushBytes) flush();
}

void BinWriter::flush() {
  file_.write(written_, pending_.bytes());
  written_ += pending_.size() * width_;
  pending_ = Tokens(width_);
}

void BinWriter::finish() {
  flush();
  const auto kind = std::find_if(kKinds.begin(), kKinds.end(),
                                 [&](const Kind& each) { return each.width == width_; });
  const auto words = header_words(*kind, tokens_);
  file_.write(0, std::as_bytes(std::span(words)));
  file_.commit();
}

}  // namespace moebius
