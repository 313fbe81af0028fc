#pragma once
#include <SQLiteCpp/Database.h>
#include <SQLiteCpp/Exception.h>
#include <SQLiteCpp/Statement.h>
#include <sqlite3.h>

#include <map>
#include <memory>
#include <string>

#include "search/results/results_db.h"

// What the files of the sqlite database share. SQLite headers stay inside search/results/dbs/.
namespace moebius::sqlite {

// A database and the statements that were prepared on it, by their text.
class Connection : public SQLite::Database {
 public:
  using SQLite::Database::Database;
  SQLite::Statement& prepared(const std::string& sql) {
    return statements_.try_emplace(sql, *this, sql).first->second;
  }

 private:
  std::map<std::string, SQLite::Statement> statements_;
};

// A connection under the storage rules: one file on a local file system that is ours
// (application_id) and of this version; TRUNCATE or WAL by the library's version, synchronous FULL,
// foreign keys, locks waited for up to 60 s. Create makes and migrates; ReadOnly reads an older
// file through a migrated copy in memory. SQLite::Exception or Error(Storage).
std::unique_ptr<Connection> connect(const std::string& path, OpenMode mode);

// WAL can lose commits in SQLite 3.7.0 .. 3.51.2 without the back-ported fix of 3.44.6 and 3.50.7,
// and in the withdrawn 3.52.0 ("WAL-reset bug"); then the journal is TRUNCATE.
bool wal_is_safe(int library_version);

// Why SQLite failed as the one line a user reads.
[[noreturn]] void raise(const std::string& path, const SQLite::Exception& error);

// "SQLite 3.40.1, journal truncate, synchronous full, schema 2".
std::string describe();

}  // namespace moebius::sqlite
