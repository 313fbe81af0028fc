#pragma once
#include <cstddef>
#include <cstdint>
#include <functional>
#include <map>
#include <span>
#include <string>
#include <vector>

#include "model/view.h"

namespace moebius {

// safetensors files (u64 header length, JSON header, data): read by every framework, never
// executable. Little endian, C order.

struct TensorInfo {
  Dtype dtype = Dtype::F32;
  std::vector<std::int64_t> shape;
  std::int64_t begin = 0, end = 0;  // bytes into the data block
};

struct TensorOut {
  std::string name;
  Dtype dtype = Dtype::F32;
  std::vector<std::int64_t> shape;  // no zero dimension
};

// Writes PATH atomically: temporary file in the same directory, fdatasync, rename, fsync of the
// directory; what a process that was killed left half-written is removed by the next write. Tensors
// are pulled one at a time through fill(index, buffer), widest type first, so that no second copy
// of all is needed. Metadata gets three keys that callers must not set: "format" = "pt" (other
// programs demand it), "writer" and "xxh3-128", a hash of everything else in the file.
// Error(Storage) with the system's reason; the old file is then untouched.
void write_safetensors(const std::string& path, const std::vector<TensorOut>& tensors,
                       const std::map<std::string, std::string>& metadata,
                       const std::function<void(std::size_t, std::span<std::byte>)>& fill);

// A checked reader: every length is compared with the file before anything is allocated, offsets
// are contiguous, names unique, shapes multiply without overflow. Reads with pread, so a file that
// shrinks under us is an error and not a signal. Error(Storage) "PATH: ..." on the first fault.
class SafetensorsFile {
 public:
  explicit SafetensorsFile(const std::string& path);
  ~SafetensorsFile();
  SafetensorsFile(const SafetensorsFile&) = delete;
  SafetensorsFile& operator=(const SafetensorsFile&) = delete;

  const std::map<std::string, TensorInfo>& tensors() const { return tensors_; }
  const std::map<std::string, std::string>& metadata() const { return metadata_; }
  // All bytes of one tensor; `to` has exactly its size.
  void read(const std::string& name, std::span<std::byte> to) const;
  // The file against its hash. Files of our own writer must have one; those of others have none and
  // pass.
  void verify() const;

 private:
  std::string read_header(std::int64_t& file_bytes) const;

  std::string path_;
  int file_ = -1;
  std::int64_t data_begin_ = 0, data_bytes_ = 0;
  std::map<std::string, TensorInfo> tensors_;
  std::map<std::string, std::string> metadata_;
};

}  // namespace moebius
