#include "evaluator/tokens.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

#include "space/base/check.h"

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

Tokens Tokens::map(const std::string& path, std::int64_t offset, std::int64_t count, int width) {
  const int file = open(path.c_str(), O_RDONLY | O_CLOEXEC);
  if (file < 0) bad_input(path, std::string("cannot be read: ") + std::strerror(errno));
  const std::size_t bytes = static_cast<std::size_t>(offset + count * width);
  void* base = mmap(nullptr, bytes, PROT_READ, MAP_PRIVATE, file, 0);
  const int error = errno;
  close(file);
  if (base == MAP_FAILED) bad_input(path, std::string("cannot be mapped: ") + std::strerror(error));
  madvise(base, bytes, MADV_RANDOM);
  Tokens tokens(width);
  tokens.size_ = count;
  tokens.mapping_ =
      std::shared_ptr<const std::byte>(static_cast<const std::byte*>(base) + offset,
                                       [base, bytes](const std::byte*) { munmap(base, bytes); });
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
  MOEBIUS_CHECK(!mapped(), "[tokens] a mapped file cannot grow by {}", count);
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
  const std::byte* from = (mapping_ ? mapping_.get() : owned_.data()) + begin * width_;
  if (width_ == 1) return widen<std::uint8_t>(from, count, to);
  if (width_ == 2) return widen<std::uint16_t>(from, count, to);
  widen<std::uint32_t>(from, count, to);
}

}  // namespace moebius
