#pragma once
#include <string>

namespace moebius::sqlite {

// The right to run a study: an open-file-description lock on the database file itself (man 2 fcntl,
// F_OFD_SETLK), held until this object or its process ends, kill -9 included.
//
// The lock belongs to the inode: whatever hard or symbolic link a process came by, a study has one
// owner, and a copy of the file has none. Its place is far beyond the bytes that SQLite locks; the
// name of the study gives the first byte, the owner's pid the length, so that a process that is
// refused reads the pid from the kernel. No second file is written.
class OwnerLock {
 public:
  // `database` is an existing file. Error(NotOwner) naming the owner when the study has one for
  // more than a second. Error(Storage) when the file cannot be opened for writing, or its file
  // system has no locks.
  OwnerLock(const std::string& database, const std::string& study);
  ~OwnerLock();
  OwnerLock(const OwnerLock&) = delete;
  OwnerLock& operator=(const OwnerLock&) = delete;

 private:
  int file_ = -1;
};

}  // namespace moebius::sqlite
