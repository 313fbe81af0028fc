#include "model/safetensors_header.h"

#include <algorithm>
#include <array>
#include <set>
#include <utility>

#include "space/base/check.h"
#include "space/base/json.h"
#include "space/base/text.h"

namespace moebius {
namespace {

constexpr std::int64_t kMetadataBytes = 1 << 20;
constexpr std::int64_t kDimension = std::int64_t{1} << 40;

constexpr std::array<std::pair<Dtype, const char*>, 4> kDtypes = {
    {{Dtype::F64, "F64"}, {Dtype::F32, "F32"}, {Dtype::BF16, "BF16"}, {Dtype::I32, "I32"}}};

// Checks that a parser must make while it reads: depth, array length, names given twice.
class HeaderGuard {
 public:
  explicit HeaderGuard(const std::string& path) : path_(path) {}

  bool operator()(int /*depth*/, Json::parse_event_t event, Json& parsed) {
    switch (event) {
      case Json::parse_event_t::object_start:
      case Json::parse_event_t::array_start:
        if (levels_.size() == 4) checkpoint_fault(path_, "header is nested deeper than 4");
        levels_.emplace_back();
        break;
      case Json::parse_event_t::object_end:
      case Json::parse_event_t::array_end:
        levels_.pop_back();
        break;
      case Json::parse_event_t::key:
        if (!levels_.back().keys.insert(parsed.get_ref<const std::string&>()).second)
          checkpoint_fault(path_,
                           fmt::format("header names '{}' twice", printable(text_of(parsed))));
        levels_.back().values = 0;
        break;
      case Json::parse_event_t::value:
        if (!levels_.empty() && ++levels_.back().values > SafetensorsHeader::kRank)
          checkpoint_fault(path_, fmt::format("header holds a list of more than {} numbers",
                                              SafetensorsHeader::kRank));
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
  if (text.empty() || text[0] != '{') checkpoint_fault(path, "header does not start with '{'");
  try {
    return Json::parse(text, HeaderGuard(path));
  } catch (const Json::exception& error) {
    checkpoint_fault(path, "header is not JSON: " + printable(error.what()));
  }
}

std::map<std::string, std::string> parse_metadata(const std::string& path, const Json& json) {
  if (!json.is_object()) checkpoint_fault(path, "__metadata__ is not an object");
  std::map<std::string, std::string> metadata;
  std::size_t bytes = 0;
  for (const auto& [key, value] : json.items()) {
    if (!value.is_string())
      checkpoint_fault(path, "__metadata__ '" + printable(key) + "' is not a string");
    metadata[key] = value.get_ref<const std::string&>();
    bytes += key.size() + metadata[key].size();
  }
  if (bytes > kMetadataBytes) checkpoint_fault(path, "__metadata__ is larger than 1 MiB");
  return metadata;
}

// Numbers must be plain unsigned tokens: no sign, no fraction, no exponent.
std::vector<std::int64_t> parse_numbers(const std::string& where, const Json& json,
                                        std::int64_t limit) {
  if (!json.is_array()) checkpoint_fault(where, "is not a list of numbers");
  std::vector<std::int64_t> numbers;
  for (const Json& number : json) {
    if (!number.is_number_unsigned() ||
        number.get<std::uint64_t>() > static_cast<std::uint64_t>(limit))
      checkpoint_fault(where, fmt::format("must hold whole numbers in 0..{}", limit));
    numbers.push_back(number.get<std::int64_t>());
  }
  return numbers;
}

TensorInfo parse_tensor(const std::string& where, const Json& json, std::int64_t data_bytes) {
  if (!json.is_object() || json.size() != 3 || !json.contains("dtype") || !json.contains("shape") ||
      !json.contains("data_offsets"))
    checkpoint_fault(where, "must have exactly dtype, shape and data_offsets");
  const auto* dtype = std::find_if(kDtypes.begin(), kDtypes.end(), [&](const auto& known) {
    return json["dtype"] == known.second;
  });
  if (dtype == kDtypes.end()) checkpoint_fault(where, "dtype must be F64, F32, BF16 or I32");
  TensorInfo info;
  info.dtype = dtype->first;
  info.shape = parse_numbers(where + "/shape", json["shape"], kDimension);
  const auto offsets = parse_numbers(where + "/data_offsets", json["data_offsets"], data_bytes);
  if (offsets.size() != 2 || offsets[0] > offsets[1])
    checkpoint_fault(where, "data_offsets must be begin <= end");
  info.begin = offsets[0];
  info.end = offsets[1];
  const std::int64_t bytes = tensor_bytes(info.dtype, info.shape);
  if (bytes < 0) checkpoint_fault(where, "shape is empty or overflows");
  if (bytes != info.end - info.begin)
    checkpoint_fault(where, fmt::format("shape needs {} bytes, data_offsets span {}", bytes,
                                        info.end - info.begin));
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
      checkpoint_fault(
          path, fmt::format("data has {} at byte {}", begin > at ? "a hole" : "an overlap", at));
    at = end;
  }
  if (at != data_bytes)
    checkpoint_fault(
        path, fmt::format("tensors need {} bytes of data, the file holds {}", at, data_bytes));
}

}  // namespace

SafetensorsHeader parse_safetensors_header(const std::string& path, const std::string& text,
                                           std::int64_t data_bytes) {
  SafetensorsHeader header;
  const Json json = parse_header(path, text);
  for (const auto& [name, entry] : json.items()) {
    if (name == SafetensorsHeader::kMetadata)
      header.metadata = parse_metadata(path, entry);
    else
      header.tensors[name] = parse_tensor(path + ":/" + printable(name), entry, data_bytes);
  }
  check_contiguous(path, header.tensors, data_bytes);
  return header;
}

const char* safetensors_dtype(Dtype dtype) {
  for (const auto& [known, name] : kDtypes)
    if (known == dtype) return name;
  throw Error(Exit::Bug, "[safetensors] a type without a name");
}

std::int64_t tensor_bytes(Dtype dtype, const std::vector<std::int64_t>& shape) {
  std::int64_t bytes = size_of(dtype);
  for (const std::int64_t size : shape)
    if (size < 1 || size > kDimension || __builtin_mul_overflow(bytes, size, &bytes)) return -1;
  return bytes;
}

void checkpoint_fault(const std::string& path, const std::string& what) {
  throw Error(Exit::Storage, printable(path) + ": " + what);
}

}  // namespace moebius
