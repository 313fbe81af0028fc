#include "evaluator/corpus/tokens.h"

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

#include "space/base/check.h"
#include "space/base/text.h"

namespace moebius {
namespace {

template <class Unsigned>
void widen(const std::byte* from, std::int64_t count, std::int32_t* to) {
  for (std::int64_t i = 0; i < count; ++i) {
    Unsigned id;
    std::memcpy(&id, from + i * static_cast<std::int64_t>(sizeof(id)), sizeof(id));
    to[i] = static_cast<std::int32_t>(id);
  }
}

}  // namespace

class Tokens::File {
 public:
  File(const std::string& path, std::int64_t offset)
      : path_(path), offset_(offset), file_(open(path.c_str(), O_RDONLY | O_CLOEXEC)) {
    if (file_ < 0) bad_input(path, std::string("cannot be read: ") + std::strerror(errno));
    posix_fadvise(file_, 0, 0, POSIX_FADV_RANDOM);
  }
  ~File() { close(file_); }
  File(const File&) = delete;
  File& operator=(const File&) = delete;

  void read(std::int64_t at, std::span<std::byte> to) const {
    while (!to.empty()) {
      const ssize_t got = pread(file_, to.data(), to.size(), offset_ + at);
      if (got < 0 && errno == EINTR) continue;
      if (got <= 0)
        throw Error(Exit::Storage,
                    printable(path_) +
                        (got == 0 ? ": was cut short while in use"
                                  : std::string(": cannot be read: ") + std::strerror(errno)));
      to = to.subspan(static_cast<std::size_t>(got));
      at += got;
    }
  }

 private:
  std::string path_;
  std::int64_t offset_;  // of token 0
  int file_;
};

Tokens Tokens::in_file(const std::string& path, std::int64_t offset, std::int64_t count,
                       int width) {
  Tokens tokens(width);
  tokens.size_ = count;
  tokens.file_ = std::make_shared<const File>(path, offset);
  return tokens;
}

Tokens Tokens::parts(std::shared_ptr<const Tokens> whole,
                     const std::vector<std::pair<std::int64_t, std::int64_t>>& ranges) {
  Tokens tokens(whole->width_);
  tokens.whole_ = std::move(whole);
  for (const auto& [begin, end] : ranges) {
    tokens.here_.push_back(tokens.size_);
    tokens.there_.push_back(begin);
    tokens.size_ += end - begin;
  }
  return tokens;
}

void Tokens::append(std::span<const std::int32_t> ids) {
  std::byte* to = extend(static_cast<std::int64_t>(ids.size())).data();
  for (const std::int32_t id : ids) {
    std::memcpy(to, &id, static_cast<std::size_t>(width_));  // little-endian: the low bytes
    to += width_;
  }
}

std::span<std::byte> Tokens::extend(std::int64_t count) {
  MOEBIUS_CHECK(owned(), "[tokens] a file cannot grow by {}", count);
  const std::size_t before = owned_.size();
  owned_.resize(before + static_cast<std::size_t>(count * width_));
  size_ += count;
  return std::span(owned_).subspan(before);
}

std::int32_t Tokens::operator[](std::int64_t i) const {
  std::int32_t id = 0;
  copy(i, 1, &id);
  return id;
}

void Tokens::copy(std::int64_t begin, std::int64_t count, std::int32_t* to) const {
  MOEBIUS_CHECK(begin >= 0 && begin + count <= size_, "[tokens] {}+{} of {}", begin, count, size_);
  if (whole_) {
    auto part = static_cast<std::size_t>(std::upper_bound(here_.begin(), here_.end(), begin) -
                                         here_.begin() - 1);
    for (; count > 0; ++part) {
      const std::int64_t end = part + 1 < here_.size() ? here_[part + 1] : size_;
      const std::int64_t taken = std::min(count, end - begin);
      whole_->copy(there_[part] + begin - here_[part], taken, to);
      begin += taken;
      to += taken;
      count -= taken;
    }
    return;
  }
  const std::byte* from = nullptr;
  if (owned()) {
    from = owned_.data() + begin * width_;
  } else {
    // The narrow ids go to the end of the destination and are widened from the front: a write never
    // reaches an id that is still to be read.
    const std::span<std::byte> raw =
        std::as_writable_bytes(std::span(to, static_cast<std::size_t>(count)))
            .last(static_cast<std::size_t>(count * width_));
    file_->read(begin * width_, raw);
    from = raw.data();
  }
  if (width_ == 1) return widen<std::uint8_t>(from, count, to);
  if (width_ == 2) return widen<std::uint16_t>(from, count, to);
  widen<std::uint32_t>(from, count, to);
}

void for_each_chunk(const Tokens& tokens,
                    const std::function<void(std::span<const std::int32_t>)>& visit) {
  constexpr std::int64_t kChunk = 1 << 16;
  std::vector<std::int32_t> ids;
  for (std::int64_t at = 0; at < tokens.size(); at += kChunk) {
    ids.resize(static_cast<std::size_t>(std::min(kChunk, tokens.size() - at)));
    tokens.copy(at, static_cast<std::int64_t>(ids.size()), ids.data());
    visit(ids);
  }
}

}  // namespace moebius
