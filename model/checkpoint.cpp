#include "model/checkpoint.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <bit>
#include <cerrno>
#include <numeric>
#include <string_view>
#include <system_error>
#include <utility>

#include "model/safetensors_header.h"
#include "space/base/atomic_file.h"
#include "space/base/check.h"
#include "space/base/hash.h"
#include "space/base/json.h"
#include "space/base/text.h"

namespace moebius {
namespace {

static_assert(std::endian::native == std::endian::little, "files are little endian");

constexpr std::int64_t kHeaderBytes = 16 << 20;  // ours stay below 1 MiB; bounds a hostile one
constexpr std::size_t kChunk = 1 << 20;

constexpr auto kHash = "xxh3-128";
constexpr auto kWriter = "writer";
constexpr auto kOurs = "moebius/1";
constexpr std::string_view kUnknownHash = "00000000000000000000000000000000";

[[noreturn]] void system_fault(const std::string& path, const std::string& doing) {
  checkpoint_fault(path, "cannot " + doing + ": " + std::generic_category().message(errno));
}

void read_exactly(int file, const std::string& path, std::int64_t offset, std::span<std::byte> to) {
  while (!to.empty()) {
    const ssize_t got = pread(file, to.data(), to.size(), offset);
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) system_fault(path, "read");
    if (got == 0) checkpoint_fault(path, fmt::format("ends at byte {} while it is read", offset));
    to = to.subspan(static_cast<std::size_t>(got));
    offset += got;
  }
}

// --- writing

// The tensors in the order of their data: widest type first, so that each is aligned to its size.
std::vector<std::size_t> data_order(const std::vector<TensorOut>& tensors) {
  std::vector<std::size_t> order(tensors.size());
  std::iota(order.begin(), order.end(), std::size_t{0});
  std::stable_sort(order.begin(), order.end(), [&](std::size_t left, std::size_t right) {
    return size_of(tensors[left].dtype) > size_of(tensors[right].dtype);
  });
  return order;
}

// Length and JSON text, padded so that the data starts at a multiple of 8 bytes.
std::string header_text(const std::vector<TensorOut>& tensors,
                        const std::vector<std::size_t>& order,
                        const std::map<std::string, std::string>& metadata) {
  Json header = {{SafetensorsHeader::kMetadata, metadata}};
  for (const auto& [key, value] : {std::pair{"format", std::string("pt")},
                                   {kWriter, kOurs},
                                   {kHash, std::string(kUnknownHash)}}) {
    MOEBIUS_CHECK(!metadata.contains(key), "[safetensors] metadata '{}' is the writer's own", key);
    header[SafetensorsHeader::kMetadata][key] = value;
  }
  std::int64_t offset = 0;
  for (const std::size_t index : order) {
    const TensorOut& tensor = tensors[index];
    const std::int64_t bytes = tensor_bytes(tensor.dtype, tensor.shape);
    MOEBIUS_CHECK(bytes > 0 && tensor.shape.size() <= SafetensorsHeader::kRank &&
                      !header.contains(tensor.name),
                  "[safetensors] tensor '{}': empty, too large, or there twice", tensor.name);
    header[tensor.name] = {{"dtype", safetensors_dtype(tensor.dtype)},
                           {"shape", tensor.shape},
                           {"data_offsets", {offset, offset + bytes}}};
    offset += bytes;
  }
  std::string text = header.dump(-1, ' ', false, Json::error_handler_t::replace);
  text.resize((text.size() + 7) / 8 * 8, ' ');
  const std::uint64_t length = text.size();
  return std::string(reinterpret_cast<const char*>(&length), sizeof length) + text;
}

// Where the digits of the hash stand in a header of our writer. A quote inside a JSON string is
// escaped, so the first match is the key itself.
std::size_t hash_position(const std::string& header, std::string_view hash) {
  const std::string pattern = fmt::format("\"{}\":\"{}\"", kHash, hash);
  const std::size_t found = header.find(pattern);
  return found == std::string::npos ? found : found + pattern.size() - 1 - hash.size();
}

}  // namespace

void write_safetensors(const std::string& path, const std::vector<TensorOut>& tensors,
                       const std::map<std::string, std::string>& metadata,
                       const std::function<void(std::size_t, std::span<std::byte>)>& fill) {
  const std::vector<std::size_t> order = data_order(tensors);
  const std::string header = header_text(tensors, order, metadata);
  // The hash is over the header with zeros in its place, then the data. It is known only after the
  // last tensor was pulled and is patched in before the sync; pulling all tensors twice to know it
  // first would double the transfers from a device, and nobody sees the file before its rename.
  Hasher hasher;
  AtomicFile file(path);
  hasher.add(header.data(), header.size());
  file.write(0, std::as_bytes(std::span(header)));
  std::int64_t offset = static_cast<std::int64_t>(header.size());
  std::vector<std::byte> buffer;
  for (const std::size_t index : order) {
    const std::int64_t bytes = tensor_bytes(tensors[index].dtype, tensors[index].shape);
    buffer.resize(static_cast<std::size_t>(bytes));
    fill(index, buffer);
    hasher.add(buffer.data(), buffer.size());
    file.write(offset, buffer);
    offset += bytes;
  }
  const std::string hash = hasher.hex();
  file.write(static_cast<std::int64_t>(hash_position(header, kUnknownHash)),
             std::as_bytes(std::span(hash)));
  file.commit();
}

SafetensorsFile::SafetensorsFile(const std::string& path) : path_(path) {
  file_ = open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK);
  if (file_ < 0) system_fault(path, "open");
  try {
    std::int64_t file_bytes = 0;
    const std::string text = read_header(file_bytes).substr(8);
    data_begin_ = 8 + static_cast<std::int64_t>(text.size());
    data_bytes_ = file_bytes - data_begin_;
    SafetensorsHeader header = parse_safetensors_header(path, text, data_bytes_);
    tensors_ = std::move(header.tensors);
    metadata_ = std::move(header.metadata);
  } catch (...) {
    close(file_);
    throw;
  }
}

SafetensorsFile::~SafetensorsFile() { close(file_); }

// Length and text, as they are in the file.
std::string SafetensorsFile::read_header(std::int64_t& file_bytes) const {
  struct stat status {};
  if (fstat(file_, &status) != 0) system_fault(path_, "open");
  if (!S_ISREG(status.st_mode)) checkpoint_fault(path_, "is not a regular file");
  file_bytes = status.st_size;
  std::uint64_t length = 0;
  if (file_bytes < 8)
    checkpoint_fault(path_, fmt::format("has {} bytes; a header needs 8", file_bytes));
  read_exactly(file_, path_, 0, std::as_writable_bytes(std::span(&length, 1)));
  if (length > static_cast<std::uint64_t>(std::min(kHeaderBytes, file_bytes - 8)))
    checkpoint_fault(path_, fmt::format("header of {} bytes in a file of {} (limit {})", length,
                                        file_bytes, kHeaderBytes));
  std::string header(static_cast<std::size_t>(length) + 8, '\0');
  read_exactly(file_, path_, 0, std::as_writable_bytes(std::span(header)));
  return header;
}

void SafetensorsFile::read(const std::string& name, std::span<std::byte> to) const {
  const auto found = tensors_.find(name);
  if (found == tensors_.end()) checkpoint_fault(path_, "has no tensor '" + printable(name) + "'");
  const TensorInfo& info = found->second;
  MOEBIUS_CHECK(static_cast<std::int64_t>(to.size()) == info.end - info.begin,
                "[safetensors] '{}' has {} bytes, the buffer {}", name, info.end - info.begin,
                to.size());
  read_exactly(file_, path_, data_begin_ + info.begin, to);
}

void SafetensorsFile::verify() const {
  const auto writer = metadata_.find(kWriter);
  const auto stored = metadata_.find(kHash);
  const bool ours = writer != metadata_.end() && writer->second == kOurs;
  if (!ours && stored == metadata_.end()) return;
  std::int64_t file_bytes = 0;
  std::string header = read_header(file_bytes);
  const std::size_t position =
      ours && stored != metadata_.end() ? hash_position(header, stored->second) : std::string::npos;
  if (position == std::string::npos || stored->second.size() != kUnknownHash.size())
    checkpoint_fault(path_, "is damaged: the hash of its writer is missing");
  header.replace(position, kUnknownHash.size(), kUnknownHash);
  Hasher hasher;
  hasher.add(header.data(), header.size());
  std::vector<std::byte> chunk(kChunk);
  for (std::int64_t at = 0; at < data_bytes_;) {
    const auto part = std::span(chunk).first(
        static_cast<std::size_t>(std::min<std::int64_t>(data_bytes_ - at, kChunk)));
    read_exactly(file_, path_, data_begin_ + at, part);
    hasher.add(part.data(), part.size());
    at += static_cast<std::int64_t>(part.size());
  }
  if (hasher.hex() != stored->second)
    checkpoint_fault(path_, fmt::format("is damaged: content has hash {}, header says {}",
                                        hasher.hex(), stored->second));
}

}  // namespace moebius
