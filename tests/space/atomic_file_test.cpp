#include "space/base/atomic_file.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cerrno>
#include <fstream>
#include <functional>
#include <iterator>
#include <span>
#include <string>

#include "space/base/check.h"
#include "tests/support/folder.h"

namespace {
bool fsync_fails = false;
}

// AtomicFile calls fsync for directories alone, and this program's own one.
extern "C" int fsync(int file) {
  if (fsync_fails) {
    errno = EIO;
    return -1;
  }
  return static_cast<int>(syscall(SYS_fsync, file));
}

namespace moebius {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::StartsWith;
using testing_support::Folder;

std::string read(const std::string& path) {
  std::ifstream file(path);
  return {std::istreambuf_iterator<char>(file), {}};
}

std::string storage_error(const std::function<void()>& action) {
  try {
    action();
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), Exit::Storage);
    return error.what();
  }
  ADD_FAILURE() << "no error";
  return "";
}

TEST(AtomicFile, ReplacesAFileWholeOrLeavesIt) {
  const Folder folder;
  const std::string path = folder.write("a.txt", "old");
  {
    AtomicFile file(path);
    file.write(0, std::as_bytes(std::span("ne", 2)));
  }
  EXPECT_EQ(read(path), "old");
  write_file(path, "new");
  EXPECT_EQ(read(path), "new");
  EXPECT_THAT(folder.list(), ElementsAre("a.txt"));
}

TEST(AtomicFile, SaysThatTheNewFileIsThereWhenOnlyItsDirectoryIsNotSynced) {
  const Folder folder;
  const std::string path = folder.write("a.txt", "old");
  fsync_fails = true;
  const std::string line = storage_error([&] { write_file(path, "new"); });
  fsync_fails = false;
  EXPECT_EQ(read(path), "new");
  EXPECT_THAT(line, StartsWith(path + ": is written, but its directory cannot be synced: "));
  EXPECT_THAT(folder.list(), ElementsAre("a.txt"));
}

TEST(AtomicFile, LeavesTheOldFileWhereTheNewOneCannotBeMade) {
  const Folder folder;
  EXPECT_THAT(storage_error([&] { write_file(folder.file("no/a.txt"), "new"); }),
              HasSubstr("no/a.txt: cannot be created: "));
}

}  // namespace
}  // namespace moebius
