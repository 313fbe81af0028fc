#include "search/results/dbs/owner_lock.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <chrono>
#include <mutex>
#include <system_error>
#include <thread>
#include <utility>
#include <vector>

#include "space/base/check.h"
#include "space/base/hash.h"
#include "space/base/text.h"

namespace moebius::sqlite {
namespace {

using Clock = std::chrono::steady_clock;
constexpr auto kOwnerWait = std::chrono::seconds(1);

// Studies begin at multiples of 2^23 above 2^62. Linux has no pid above 2^22, so a lock as long as
// a pid never reaches the next study. Two names of one file meet in 2^-39 of all pairs; the second
// study would then wait for the first.
constexpr off_t kFirstByte = off_t{1} << 62;
constexpr int kStride = 23;

off_t place_of(const std::string& study) {
  return kFirstByte + static_cast<off_t>(hash64(study) >> (64 - 62 + kStride) << kStride);
}

struct flock range(short type, off_t start, off_t length) {
  struct flock lock {};
  lock.l_type = type;
  lock.l_whence = SEEK_SET;
  lock.l_start = start;
  lock.l_len = length;
  return lock;
}

[[noreturn]] void fault(const std::string& path, const std::string& what) {
  const std::string reason = std::generic_category().message(errno);
  throw Error(Exit::Storage, printable(path) + ": " + what + ": " + reason);
}

// Descriptors of databases that this process has owned, by inode. They are used again and never
// closed: closing any descriptor of a file drops all locks that SQLite holds on it in this process.
class Descriptors {
 public:
  int take(const std::string& path) {
    const std::lock_guard lock(mutex_);
    struct stat wanted {};
    if (stat(path.c_str(), &wanted) == 0)
      for (auto idle = idle_.begin(); idle != idle_.end(); ++idle) {
        struct stat have {};
        if (fstat(*idle, &have) != 0 || have.st_dev != wanted.st_dev ||
            have.st_ino != wanted.st_ino)
          continue;
        const int file = *idle;
        idle_.erase(idle);
        return file;
      }
    const int file = open(path.c_str(), O_RDWR | O_CLOEXEC);
    if (file < 0) fault(path, "cannot be opened for writing");
    return file;
  }
  void give_back(int file) {
    const std::lock_guard lock(mutex_);
    idle_.push_back(file);
  }

 private:
  std::mutex mutex_;
  std::vector<int> idle_;
};

Descriptors& descriptors() {
  static Descriptors all;
  return all;
}

}  // namespace

OwnerLock::OwnerLock(const std::string& database, const std::string& study)
    : file_(descriptors().take(database)) {
  const off_t place = place_of(study);
  struct flock mine = range(F_WRLCK, place, getpid());
  for (const auto start = Clock::now(); fcntl(file_, F_OFD_SETLK, &mine) != 0;) {
    struct flock theirs = range(F_WRLCK, place, 1);
    const bool held = errno == EAGAIN || errno == EACCES;
    if (held && Clock::now() - start < kOwnerWait) {
      std::this_thread::sleep_for(std::chrono::milliseconds(20));
      continue;
    }
    const int reason = errno;
    const bool known = held && fcntl(file_, F_OFD_GETLK, &theirs) == 0 && theirs.l_type != F_UNLCK;
    descriptors().give_back(std::exchange(file_, -1));
    errno = reason;
    if (!held) fault(database, "cannot be locked");
    throw Error(
        Exit::NotOwner,
        fmt::format(
            "study '{}' is being run by {}; stop that one, or wait for its end", study,
            known ? fmt::format("process {}", theirs.l_len) : std::string("another process")));
  }
}

OwnerLock::~OwnerLock() {
  struct flock all = range(F_UNLCK, kFirstByte, 0);
  fcntl(file_, F_OFD_SETLK, &all);
  descriptors().give_back(file_);
}

}  // namespace moebius::sqlite
