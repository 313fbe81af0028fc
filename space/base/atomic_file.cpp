#include "space/base/atomic_file.h"

#include <fcntl.h>
#include <signal.h>
#include <unistd.h>

#include <cerrno>
#include <charconv>
#include <filesystem>
#include <system_error>
#include <utility>

#include "space/base/check.h"
#include "space/base/text.h"

namespace moebius {
namespace {

[[noreturn]] void fault(const std::string& path, const std::string& doing) {
  const std::string reason = std::generic_category().message(errno);
  throw Error(Exit::Storage, printable(path) + ": cannot " + doing + ": " + reason);
}

std::string directory_of(const std::string& path) {
  const std::string directory = std::filesystem::path(path).parent_path().string();
  return directory.empty() ? "." : directory;
}

// "" or why the names in a directory may not survive a power cut.
std::string why_not_synced(const std::string& directory) {
  const int handle = open(directory.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  const int synced = handle < 0 ? -1 : fsync(handle);
  const int reason = errno;
  if (handle >= 0) close(handle);
  return synced == 0 ? "" : std::generic_category().message(reason);
}

// The process that NAME = PREFIX + digits belongs to; 0 when it is another kind of name.
pid_t process_of(const std::string& name, const std::string& prefix) {
  if (name.compare(0, prefix.size(), prefix) != 0) return 0;
  pid_t pid = 0;
  const char* end = name.data() + name.size();
  const auto [rest, error] = std::from_chars(name.data() + prefix.size(), end, pid);
  return error == std::errc() && rest == end && pid > 0 ? pid : 0;
}

}  // namespace

AtomicFile::AtomicFile(const std::string& path)
    : path_(path), temporary_(path + ".tmp." + std::to_string(getpid())) {
  remove_orphans();
  file_ = open(temporary_.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0644);
  if (file_ < 0) fault(path_, "be created");
}

AtomicFile::~AtomicFile() {
  if (file_ < 0) return;
  close(file_);
  unlink(temporary_.c_str());
}

void AtomicFile::write(std::int64_t offset, std::span<const std::byte> from) {
  while (!from.empty()) {
    const ssize_t put = pwrite(file_, from.data(), from.size(), offset);
    if (put < 0 && errno == EINTR) continue;
    if (put < 0) fault(path_, "be written");
    from = from.subspan(static_cast<std::size_t>(put));
    offset += put;
  }
}

// The content is on the disk before it gets its name, and the name before this returns.
void AtomicFile::commit() {
  if (fdatasync(file_) != 0) fault(path_, "be written");
  if (rename(temporary_.c_str(), path_.c_str()) != 0) fault(path_, "be renamed to");
  close(std::exchange(file_, -1));
  if (const std::string reason = why_not_synced(directory_of(path_)); !reason.empty())
    throw Error(Exit::Storage, printable(path_) +
                                   ": is written, but its directory cannot be synced: " + reason +
                                   "; a power cut may undo it");
}

// A number of our own is left over from a dead process too: process ids come back.
void AtomicFile::remove_orphans() const {
  const std::string prefix = std::filesystem::path(path_).filename().string() + ".tmp.";
  std::error_code ignored;
  for (const auto& entry : std::filesystem::directory_iterator(directory_of(path_), ignored)) {
    const pid_t pid = process_of(entry.path().filename().string(), prefix);
    if (pid == 0) continue;
    if (pid == getpid() || (kill(pid, 0) != 0 && errno == ESRCH))
      std::filesystem::remove(entry.path(), ignored);
  }
}

void write_file(const std::string& path, std::string_view text) {
  AtomicFile file(path);
  file.write(0, std::as_bytes(std::span(text)));
  file.commit();
}

}  // namespace moebius
