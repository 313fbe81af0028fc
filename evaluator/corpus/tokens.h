#pragma once
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <utility>
#include <vector>

namespace moebius {

// A long row of token ids of 1, 2 or 4 bytes each (little-endian, unsigned): owned, in a file, or
// parts of another row. Reading is thread-safe.
class Tokens {
 public:
  explicit Tokens(int width) : width_(width) {}
  // `count` tokens at byte `offset` of a file, read when they are asked for. With pread and not
  // mapped, so that a file that is cut short under us is an Error(Storage) and not a signal.
  // Error(BadInput) with the system's reason when it cannot be opened.
  static Tokens in_file(const std::string& path, std::int64_t offset, std::int64_t count,
                        int width);
  // The ranges [begin, end) of `whole`, one after the other; none is empty.
  static Tokens parts(std::shared_ptr<const Tokens> whole,
                      const std::vector<std::pair<std::int64_t, std::int64_t>>& ranges);
  // The narrowest width that holds ids below `vocab`.
  static int width_for(std::int64_t vocab) { return vocab <= 256 ? 1 : vocab <= 65536 ? 2 : 4; }

  void append(std::span<const std::int32_t> ids);
  std::span<std::byte> extend(std::int64_t count);  // zeros, room for `count` tokens

  std::int64_t size() const { return size_; }
  std::int32_t operator[](std::int64_t i) const;
  void copy(std::int64_t begin, std::int64_t count, std::int32_t* to) const;
  // The owned bytes, width of them a token.
  std::span<const std::byte> bytes() const { return owned_; }
  bool owned() const { return file_ == nullptr && whole_ == nullptr; }

 private:
  class File;

  int width_;
  std::int64_t size_ = 0;
  std::vector<std::byte> owned_;
  std::shared_ptr<const File> file_;
  std::shared_ptr<const Tokens> whole_;
  // Of the parts of whole_: where each begins, here and there.
  std::vector<std::int64_t> here_, there_;
};

// Hands on all of a row, in pieces.
void for_each_chunk(const Tokens& tokens,
                    const std::function<void(std::span<const std::int32_t> ids)>& visit);

}  // namespace moebius
