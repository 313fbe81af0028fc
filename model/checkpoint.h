#pragma once
#include <cstdint>
#include <functional>
#include <map>
#include <span>
#include <string>
#include <vector>

#include "model/view.h"

namespace moebius {

// safetensors files (u64 header length, JSON header, data): read by every framework, never
// executable.
struct TensorInfo {
  Dtype dtype = Dtype::F32;
  std::vector<std::int64_t> shape;
  std::int64_t begin = 0, end = 0;  // bytes into the data block
};

// Writes PATH atomically: temporary file in the same directory, fdatasync, rename, fsync of the
// directory; the header carries an XXH3-128 of the data. Tensors are pulled one at a time through
// `fill(index, buffer)`, so no second copy is needed. Error(Storage) with the system's reason; the
// old file is then untouched.
struct TensorOut {
  std::string name;
  Dtype dtype = Dtype::F32;
  std::vector<std::int64_t> shape;
};
void write_safetensors(const std::string& path, const std::vector<TensorOut>& tensors,
                       const std::map<std::string, std::string>& metadata,
                       const std::function<void(std::size_t, std::span<std::byte>)>& fill);

// A checked reader (reliability.md 6.4): every length is compared with the file before anything is
// allocated, offsets are contiguous, names unique, shapes multiply without overflow. Error(Storage)
// "PATH: ..." on the first fault.
class SafetensorsFile {
 public:
  explicit SafetensorsFile(const std::string& path);
  ~SafetensorsFile();
  const std::map<std::string, TensorInfo>& tensors() const { return tensors_; }
  const std::map<std::string, std::string>& metadata() const { return metadata_; }
  void read(const std::string& name, std::span<std::byte> to) const;
  void verify() const;  // the data against its hash, where the header has one

 private:
  std::string path_;
  int file_ = -1;
  std::int64_t data_begin_ = 0, data_bytes_ = 0;
  std::map<std::string, TensorInfo> tensors_;
  std::map<std::string, std::string> metadata_;
};

}  // namespace moebius
