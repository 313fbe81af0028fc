#pragma once
#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>

namespace moebius {

// A file that appears whole or not at all, whatever happens: written as PATH.tmp.PID in the same
// directory, synced, renamed to PATH, directory synced. What a killed process left half-written is
// removed by the next write of that PATH. One thread writes a path at a time. Error(Storage)
// "PATH: cannot ...: reason" leaves an old file at PATH untouched. Error(Storage) "PATH: is
// written, but ..." comes from the last step: the new file is at PATH, and a power cut may bring
// back the old.
class AtomicFile {
 public:
  explicit AtomicFile(const std::string& path);
  ~AtomicFile();  // without commit(): nothing is left behind
  AtomicFile(const AtomicFile&) = delete;
  AtomicFile& operator=(const AtomicFile&) = delete;

  void write(std::int64_t offset, std::span<const std::byte> from);
  void commit();

 private:
  void remove_orphans() const;

  std::string path_, temporary_;
  int file_ = -1;
};

void write_file(const std::string& path, std::string_view text);  // all of it, atomically

}  // namespace moebius
