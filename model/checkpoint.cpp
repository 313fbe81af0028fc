#include "model/checkpoint.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <bit>
#include <cerrno>
#include <numeric>
#include <set>
#include <string_view>
#include <system_error>
#include <utility>

#include "space/base/atomic_file.h"
#include "space/base/check.h"
#include "space/base/hash.h"
#include "space/base/json.h"
#include "space/base/text.h"

namespace moebius {
namespace {

static_assert(std::endian::native == std::endian::little, "files are little endian");

constexpr std::int64_t kHeaderBytes = 16 << 20;  // ours stay below 1 MiB; bounds a hostile one
constexpr std::int64_t kMetadataBytes = 1 << 20;
constexpr std::int64_t kDimension = std::int64_t{1} << 40;
constexpr std::size_t kRank = 8;
constexpr std::size_t kChunk = 1 << 20;

constexpr auto kMetadata = "__metadata__";
constexpr auto kHash = "xxh3-128";
constexpr auto kWriter = "writer";
constexpr auto kOurs = "moebius/1";
constexpr std::string_view kUnknownHash = "00000000000000000000000000000000";

constexpr std::array<std::pair<Dtype, const char*>, 4> kDtypes = {
    {{Dtype::F64, "F64"}, {Dtype::F32, "F32"}, {Dtype::BF16, "BF16"}, {Dtype::I32, "I32"}}};

[[noreturn]] void fault(const std::string& path, const std::string& what) {
  throw Error(Exit::Storage, printable(path) + ": " + what);
}

[[noreturn]] void system_fault(const std::string& path, const std::string& doing) {
  fault(path, "cannot " + doing + ": " + std::generic_category().message(errno));
}

// Bytes of a shape; -1 when there are none, or more than 63 bits can count.
std::int64_t bytes_of(Dtype dtype, const std::vector<std::int64_t>& shape) {
  std::int64_t bytes = size_of(dtype);
  for (const std::int64_t size : shape)
    if (size < 1 || size > kDimension || __builtin_mul_overflow(bytes, size, &bytes)) return -1;
  return bytes;
}

void read_exactly(int file, const std::string& path, std::int64_t offset, std::span<std::byte> to) {
  while (!to.empty()) {
    const ssize_t got = pread(file, to.data(), to.size(), offset);
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) system_fault(path, "read");
    if (got == 0) fault(path, fmt::format("ends at byte {} while it is read", offset));
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
  Json header = {{kMetadata, metadata}};
  for (const auto& [key, value] : {std::pair{"format", std::string("pt")},
                                   {kWriter, kOurs},
                                   {kHash, std::string(kUnknownHash)}}) {
    MOEBIUS_CHECK(!metadata.contains(key), "[safetensors] metadata '{}' is the writer's own", key);
    header[kMetadata][key] = value;
  }
  std::int64_t offset = 0;
  for (const std::size_t index : order) {
    const TensorOut& tensor = tensors[index];
    const std::int64_t bytes = bytes_of(tensor.dtype, tensor.shape);
    MOEBIUS_CHECK(bytes > 0 && tensor.shape.size() <= kRank && !header.contains(tensor.name),
                  "[safetensors] tensor '{}': empty, too large, or there twice", tensor.name);
    const auto* dtype = std::find_if(kDtypes.begin(), kDtypes.end(), [&](const auto& known) {
      return known.first == tensor.dtype;
    });
    header[tensor.name] = {{"dtype", dtype->second},
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

// --- reading

// Checks that a parser must make while it reads: depth, array length, names given twice.
class HeaderGuard {
 public:
  explicit HeaderGuard(const std::string& path) : path_(path) {}

  bool operator()(int /*depth*/, Json::parse_event_t event, Json& parsed) {
    switch (event) {
      case Json::parse_event_t::object_start:
      case Json::parse_event_t::array_start:
        if (levels_.size() == 4) fault(path_, "header is nested deeper than 4");
        levels_.emplace_back();
        break;
      case Json::parse_event_t::object_end:
      case Json::parse_event_t::array_end:
        levels_.pop_back();
        break;
      case Json::parse_event_t::key:
        if (!levels_.back().keys.insert(parsed.get_ref<const std::string&>()).second)
          fault(path_, fmt::format("header names '{}' twice", printable(text_of(parsed))));
        levels_.back().values = 0;
        break;
      case Json::parse_event_t::value:
        if (!levels_.empty() && ++levels_.back().values > kRank)
          fault(path_, fmt::format("header holds a list of more than {} numbers", kRank));
        break;
    }
    return true;
  }

 private:
  struct Level {
    std::set<std::string> keys;
    std::size_t values = 0;  // since the last key
  };
  static const std::string& text_of(const Json& json) { return json.get_ref<const std::string&>(); }

  std::string path_;
  std::vector<Level> levels_;
};

Json parse_header(const std::string& path, const std::string& text) {
  if (text.empty() || text[0] != '{') fault(path, "header does not start with '{'");
  try {
    return Json::parse(text, HeaderGuard(path));
  } catch (const Json::exception& error) {
    fault(path, "header is not JSON: " + printable(error.what()));
  }
}

std::map<std::string, std::string> parse_metadata(const std::string& path, const Json& json) {
  if (!json.is_object()) fault(path, "__metadata__ is not an object");
  std::map<std::string, std::string> metadata;
  std::size_t bytes = 0;
  for (const auto& [key, value] : json.items()) {
    if (!value.is_string()) fault(path, "__metadata__ '" + printable(key) + "' is not a string");
    metadata[key] = value.get_ref<const std::string&>();
    bytes += key.size() + metadata[key].size();
  }
  if (bytes > kMetadataBytes) fault(path, "__metadata__ is larger than 1 MiB");
  return metadata;
}

// Numbers must be plain unsigned tokens: no sign, no fraction, no exponent.
std::vector<std::int64_t> parse_numbers(const std::string& where, const Json& json,
                                        std::int64_t limit) {
  if (!json.is_array()) fault(where, "is not a list of numbers");
  std::vector<std::int64_t> numbers;
  for (const Json& number : json) {
    if (!number.is_number_unsigned() ||
        number.get<std::uint64_t>() > static_cast<std::uint64_t>(limit))
      fault(where, fmt::format("must hold whole numbers in 0..{}", limit));
    numbers.push_back(number.get<std::int64_t>());
  }
  return numbers;
}

TensorInfo parse_tensor(const std::string& where, const Json& json, std::int64_t data_bytes) {
  if (!json.is_object() || json.size() != 3 || !json.contains("dtype") || !json.contains("shape") ||
      !json.contains("data_offsets"))
    fault(where, "must have exactly dtype, shape and data_offsets");
  const auto* dtype = std::find_if(kDtypes.begin(), kDtypes.end(), [&](const auto& known) {
    return json["dtype"] == known.second;
  });
  if (dtype == kDtypes.end()) fault(where, "dtype must be F64, F32, BF16 or I32");
  TensorInfo info;
  info.dtype = dtype->first;
  info.shape = parse_numbers(where + "/shape", json["shape"], kDimension);
  const auto offsets = parse_numbers(where + "/data_offsets", json["data_offsets"], data_bytes);
  if (offsets.size() != 2 || offsets[0] > offsets[1])
    fault(where, "data_offsets must be begin <= end");
  info.begin = offsets[0];
  info.end = offsets[1];
  const std::int64_t bytes = bytes_of(info.dtype, info.shape);
  if (bytes < 0) fault(where, "shape is empty or overflows");
  if (bytes != info.end - info.begin)
    fault(where,
          fmt::format("shape needs {} bytes, data_offsets span {}", bytes, info.end - info.begin));
  return info;
}

// One tensor after the other from 0 to the end of the file: no hole, no overlap.
void check_contiguous(const std::string& path, const std::map<std::string, TensorInfo>& tensors,
                      std::int64_t data_bytes) {
  std::vector<std::pair<std::int64_t, std::int64_t>> ranges;
  for (const auto& entry : tensors) ranges.emplace_back(entry.second.begin, entry.second.end);
  std::sort(ranges.begin(), ranges.end());
  std::int64_t at = 0;
  for (const auto& [begin, end] : ranges) {
    if (begin != at)
      fault(path, fmt::format("data has {} at byte {}", begin > at ? "a hole" : "an overlap", at));
    at = end;
  }
  if (at != data_bytes)
    fault(path, fmt::format("tensors need {} bytes of data, the file holds {}", at, data_bytes));
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
    const std::int64_t bytes = bytes_of(tensors[index].dtype, tensors[index].shape);
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
    const Json header = parse_header(path, text);
    for (const auto& [name, entry] : header.items()) {
      if (name == kMetadata)
        metadata_ = parse_metadata(path, entry);
      else
        tensors_[name] = parse_tensor(path + ":/" + printable(name), entry, data_bytes_);
    }
    check_contiguous(path, tensors_, data_bytes_);
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
  if (!S_ISREG(status.st_mode)) fault(path_, "is not a regular file");
  file_bytes = status.st_size;
  std::uint64_t length = 0;
  if (file_bytes < 8) fault(path_, fmt::format("has {} bytes; a header needs 8", file_bytes));
  read_exactly(file_, path_, 0, std::as_writable_bytes(std::span(&length, 1)));
  if (length > static_cast<std::uint64_t>(std::min(kHeaderBytes, file_bytes - 8)))
    fault(path_, fmt::format("header of {} bytes in a file of {} (limit {})", length, file_bytes,
                             kHeaderBytes));
  std::string header(static_cast<std::size_t>(length) + 8, '\0');
  read_exactly(file_, path_, 0, std::as_writable_bytes(std::span(header)));
  return header;
}

void SafetensorsFile::read(const std::string& name, std::span<std::byte> to) const {
  const auto found = tensors_.find(name);
  if (found == tensors_.end()) fault(path_, "has no tensor '" + printable(name) + "'");
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
    fault(path_, "is damaged: the hash of its writer is missing");
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
    fault(path_, fmt::format("is damaged: content has hash {}, header says {}", hasher.hex(),
                             stored->second));
}

}  // namespace moebius
