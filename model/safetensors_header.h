#pragma once
#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "model/checkpoint.h"

namespace moebius {

// The JSON header of a safetensors file. Everything in it is doubted: a file may come from
// anywhere.
struct SafetensorsHeader {
  static constexpr auto kMetadata = "__metadata__";
  static constexpr std::size_t kRank = 8;  // dimensions of a tensor, at most

  std::map<std::string, TensorInfo> tensors;
  std::map<std::string, std::string> metadata;
};

// Error(Storage) "PATH: ..." unless `text` describes exactly `data_bytes` bytes of data.
SafetensorsHeader parse_safetensors_header(const std::string& path, const std::string& text,
                                           std::int64_t data_bytes);

const char* safetensors_dtype(Dtype dtype);  // "F32"
// Bytes of a tensor; -1 when it is empty or more than 63 bits can count.
std::int64_t tensor_bytes(Dtype dtype, const std::vector<std::int64_t>& shape);

// Error(Storage) "PATH: WHAT".
[[noreturn]] void checkpoint_fault(const std::string& path, const std::string& what);

}  // namespace moebius
