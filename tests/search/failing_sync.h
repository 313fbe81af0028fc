#pragma once
#include <sqlite3.h>
#include <unistd.h>

#include <csignal>
#include <map>

namespace moebius::testing_support {

// A file layer whose k-th fsync reports an I/O error, before or after it did its work.
struct FailingSync {
  struct Methods {
    sqlite3_io_methods mine;  // first: what the file points to
    const sqlite3_io_methods* real;
  };
  static inline int countdown = 0;
  static inline bool after = false, always = false, kills = false;
  static inline std::map<const sqlite3_io_methods*, Methods> known;
  static inline sqlite3_vfs vfs;

  static int sync(sqlite3_file* file, int flags) {
    const auto* real = reinterpret_cast<const Methods*>(file->pMethods)->real;
    const bool fails = always || (countdown > 0 && --countdown == 0);
    if (fails && kills) kill(getpid(), SIGKILL);
    if (fails && !after) return SQLITE_IOERR_FSYNC;
    const int code = real->xSync(file, flags);
    return fails ? SQLITE_IOERR_FSYNC : code;
  }
  static int open(sqlite3_vfs*, const char* name, sqlite3_file* file, int flags, int* out) {
    sqlite3_vfs* base = sqlite3_vfs_find("unix");
    const int code = base->xOpen(base, name, file, flags, out);
    if (code != SQLITE_OK) return code;
    Methods& methods =
        known.try_emplace(file->pMethods, Methods{*file->pMethods, file->pMethods}).first->second;
    methods.mine.xSync = sync;
    file->pMethods = &methods.mine;
    return code;
  }
  FailingSync() {
    countdown = 0;
    after = always = kills = false;
    vfs = *sqlite3_vfs_find("unix");
    vfs.zName = "failing";
    vfs.xOpen = open;
    sqlite3_vfs_register(&vfs, 1);
  }
  ~FailingSync() {
    sqlite3_vfs_register(sqlite3_vfs_find("unix"), 1);
    sqlite3_vfs_unregister(&vfs);
  }
};

}  // namespace moebius::testing_support
