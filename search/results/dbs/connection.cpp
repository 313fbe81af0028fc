#include "search/results/dbs/connection.h"

#include <SQLiteCpp/Backup.h>
#include <SQLiteCpp/Transaction.h>
#include <fcntl.h>
#include <sys/file.h>
#include <sys/vfs.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <chrono>
#include <filesystem>
#include <thread>
#include <utility>

#include "search/results/dbs/fields.h"
#include "search/results/dbs/rows.h"
#include "space/base/log.h"
#include "space/resources.h"

namespace moebius::sqlite {
namespace {

using Clock = std::chrono::steady_clock;
constexpr auto kLockWait = std::chrono::seconds(60);
constexpr auto kSilentWait = std::chrono::seconds(2);
constexpr int kApplicationId = 0x4D6F6562;  // "Moeb"
constexpr int kVersion = 3;

// Called by SQLite while another connection holds the lock; 0 gives up with SQLITE_BUSY.
int wait_for_lock(void*, int tries) {
  thread_local Clock::time_point start;
  thread_local bool told;
  if (tries == 0) {
    start = Clock::now();
    told = false;
  }
  const auto waited = Clock::now() - start;
  if (waited > kLockWait) return 0;
  if (waited > kSilentWait && !std::exchange(told, true))
    warn("the database is locked by another process; waiting up to {} s", kLockWait.count());
  const int jitter = static_cast<int>((getpid() * 7919L + tries * 104729L) % 1000);
  std::this_thread::sleep_for(std::chrono::milliseconds(std::min(1 << std::min(tries, 6), 50)) +
                              std::chrono::microseconds(jitter));
  return 1;
}

// SQLite's locks and fsync are not to be trusted on network file systems (reliability: U4, S8).
void refuse_network_file_system(const std::string& path) {
  const std::string folder = std::filesystem::path(path).parent_path().string();
  struct statfs info {};
  if (statfs(folder.empty() ? "." : folder.c_str(), &info) != 0) return;  // opening will say more
  constexpr std::array<std::pair<std::uint32_t, const char*>, 10> kNetwork = {{
      {0x6969U, "NFS"},
      {0x517BU, "SMB"},
      {0xFE534D42U, "SMB"},
      {0xFF534D42U, "CIFS"},
      {0x01021997U, "9p"},
      {0x65735546U, "FUSE"},
      {0x00C36400U, "Ceph"},
      {0x5346414FU, "AFS"},
      {0x0BD00BD0U, "Lustre"},
      {0x47504653U, "GPFS"},
  }};
  for (const auto& [magic, name] : kNetwork)
    if (static_cast<std::uint32_t>(info.f_type) == magic)
      throw Error(Exit::Storage,
                  fmt::format("{}: is on a {} file system, whose locks cannot be trusted; name a "
                              "database on a local disk",
                              path, name));
}

// SQLite makes and removes a journal beside the database in every transaction.
void need_writable_folder(const std::string& path) {
  const std::string parent = std::filesystem::path(path).parent_path().string();
  const std::string folder = parent.empty() ? "." : parent;
  if (access(folder.c_str(), W_OK) == 0) return;
  throw Error(
      Exit::Storage,
      fmt::format("{}: its folder {} cannot be written, where the journal has to go; name a "
                  "database in a folder that can",
                  printable(path), printable(folder)));
}

int integer_pragma(SQLite::Database& database, const std::string& name) {
  return database.execAndGet("PRAGMA " + name).getInt();
}

// The version of a file of ours; 0 = there is nothing in it. A file of another program is left
// alone.
int version_of(SQLite::Database& database, const std::string& path) {
  int version = 0, application = 0, tables = 0;
  {
    // All three as of one moment: another process may be creating the schema.
    const SQLite::Transaction snapshot(database, SQLite::TransactionBehavior::DEFERRED);
    version = integer_pragma(database, "user_version");
    application = integer_pragma(database, "application_id");
    tables = database.execAndGet("SELECT count(*) FROM sqlite_schema").getInt();
  }
  const bool fresh = application == 0 && version == 0 && tables == 0;
  if (application != kApplicationId && !fresh)
    throw Error(Exit::Storage, path + ": is not a Moebius database; name another file");
  if (version > kVersion)
    throw Error(Exit::Storage,
                fmt::format("{}: was written by a newer moebius (format {}, this one knows {}); "
                            "use that one",
                            path, version, kVersion));
  return version;
}

// SQL: the block of a spec's JSON as trial.block has it.
void moebius_block(sqlite3_context* context, int, sqlite3_value** values) {
  std::string block;
  try {
    const auto* spec = reinterpret_cast<const char*>(sqlite3_value_text(values[0]));
    block = block_text(stored_spec(stored_json(spec == nullptr ? "" : spec)));
  } catch (const Error&) {  // check() names a damaged block
  }
  sqlite3_result_text(context, block.data(), static_cast<int>(block.size()), SQLITE_TRANSIENT);
}

// The release that wrote schema 1 locks DB.owner-STUDY while it runs a study. It would go on with
// statements that the migrated tables do not take.
void refuse_running_older_release(const std::string& path) {
  const std::filesystem::path database(path);
  const std::string prefix = database.filename().string() + ".owner-";
  const std::filesystem::path folder = database.parent_path();
  std::error_code ignored;
  for (const auto& entry :
       std::filesystem::directory_iterator(folder.empty() ? "." : folder, ignored)) {
    const std::string name = entry.path().filename().string();
    if (!name.starts_with(prefix)) continue;
    const int file = open(entry.path().c_str(), O_RDONLY | O_CLOEXEC);
    if (file < 0) continue;
    const bool running = flock(file, LOCK_SH | LOCK_NB) != 0 && errno == EWOULDBLOCK;
    close(file);
    if (running)
      throw Error(Exit::NotOwner,
                  fmt::format("{}: an older moebius is running study '{}' in it; stop that one, or "
                              "wait for its end",
                              printable(path), printable(name.substr(prefix.size()))));
  }
}

// Takes an older or empty database to the current version, in one transaction.
void migrate(Connection& database) {
  const auto run = [&](const char* script) {
    database.exec(std::string(resource(std::string("search/results/dbs/") + script)));
  };
  database.createFunction("moebius_block", 1, true, nullptr, moebius_block);
  SQLite::Transaction transaction(database, SQLite::TransactionBehavior::IMMEDIATE);
  const int version = integer_pragma(database, "user_version");
  if (version == kVersion) return;  // another process was faster
  if (version == 1) run("migrate_1_before.sql");
  if (version == 2) run("migrate_2.sql");
  run("schema.sql");
  if (version == 1) run("migrate_1_after.sql");
  show_fields(database, Spec());
  database.exec(fmt::format("PRAGMA application_id = {}", kApplicationId));
  database.exec(fmt::format("PRAGMA user_version = {}", kVersion));
  transaction.commit();
}

// An older file as the current version has it, in memory: a reader changes no file.
std::unique_ptr<Connection> migrated_copy(SQLite::Database& file) {
  auto copy =
      std::make_unique<Connection>(":memory:", SQLite::OPEN_READWRITE | SQLite::OPEN_CREATE);
  if (const int code = SQLite::Backup(*copy, file).executeStep(); code != SQLITE_DONE)
    throw SQLite::Exception(file.getHandle(), code);
  copy->exec("PRAGMA foreign_keys = ON; PRAGMA trusted_schema = OFF");
  migrate(*copy);
  copy->exec("PRAGMA query_only = ON");
  return copy;
}

void make_durable(SQLite::Database& database, const std::string& path) {
  const std::string journal = wal_is_safe(sqlite3_libversion_number()) ? "wal" : "truncate";
  const std::string got = database.execAndGet("PRAGMA journal_mode = " + journal).getString();
  database.exec("PRAGMA synchronous = FULL");
  if (got != journal || integer_pragma(database, "synchronous") != 2)
    throw Error(Exit::Storage,
                fmt::format("{}: journal {} and synchronous FULL cannot be had (got {}); close "
                            "other programs that use the file",
                            path, journal, got));
}

int primary(const SQLite::Exception& error) { return error.getErrorCode() & 0xFF; }

// A reader met the journal of an unfinished transaction and lacks the rights to undo it.
bool cannot_roll_back(const std::string& path, const SQLite::Exception& error) {
  const bool refused = primary(error) == SQLITE_READONLY || primary(error) == SQLITE_CANTOPEN ||
                       error.getExtendedErrorCode() == SQLITE_IOERR_DELETE;
  std::error_code none;
  const auto size = std::filesystem::file_size(path + "-journal", none);
  return refused && !none && size > 0;
}

}  // namespace

bool wal_is_safe(int version) {
  const bool back_ported =
      (version >= 3044006 && version < 3045000) || (version >= 3050007 && version < 3051000);
  return back_ported || (version >= 3051003 && version != 3052000);
}

std::unique_ptr<Connection> connect(const std::string& path, OpenMode mode) {
  const bool writes = mode == OpenMode::Create;
  if (writes) {
    refuse_network_file_system(path);
    need_writable_folder(path);
  }
  // After a kill inside a commit even a reader has to roll the journal back; query_only below keeps
  // its SQL from writing.
  const bool recovers = writes || access(path.c_str(), W_OK) == 0;
  const int flags = (recovers ? SQLite::OPEN_READWRITE : SQLite::OPEN_READONLY) |
                    (writes ? SQLite::OPEN_CREATE : 0);
  auto database = std::make_unique<Connection>(path, flags | SQLite::OPEN_FULLMUTEX);
  sqlite3_extended_result_codes(database->getHandle(), 1);
  sqlite3_busy_handler(database->getHandle(), wait_for_lock, nullptr);
  database->exec(
      "PRAGMA foreign_keys = ON; PRAGMA mmap_size = 0; PRAGMA cell_size_check = ON;"
      "PRAGMA cache_size = -16000;"  // KiB: the indexes of a long study stay in memory

      "PRAGMA trusted_schema = OFF");
  if (!writes) database->exec("PRAGMA query_only = ON");
  const int version = version_of(*database, path);
  if (version == kVersion || writes) {
    if (version == 1) refuse_running_older_release(path);
    if (version != kVersion) migrate(*database);
    if (writes) make_durable(*database, path);
    return database;
  }
  if (version == 0) throw Error(Exit::Storage, path + ": is empty; a search makes a database");
  return migrated_copy(*database);
}

void raise(const std::string& path, const SQLite::Exception& error) {
  const auto storage = [&](const std::string& what) {
    throw Error(Exit::Storage, fmt::format("{}: {} ({})", path, what, error.what()));
  };
  if (cannot_roll_back(path, error))
    storage(
        fmt::format("a writer was killed and left {}-journal, which must be rolled back; read "
                    "the database once with the right to write both files and their directory",
                    path));
  switch (primary(error)) {
    case SQLITE_CONSTRAINT:
      throw Error(Exit::Bug, fmt::format("[sqlite] {}: {}", path, error.what()));
    case SQLITE_BUSY:
      storage(fmt::format("locked by another process for {} s; end it and run again",
                          kLockWait.count()));
      break;
    case SQLITE_FULL:
      storage("the disk is full; free space and run the same command again");
      break;
    case SQLITE_READONLY:
    case SQLITE_PERM:
    case SQLITE_CANTOPEN:
      storage("cannot be opened or written");
      break;
    case SQLITE_CORRUPT:
    case SQLITE_NOTADB:
      storage("is damaged or not a database");
      break;
    default:
      storage("the database failed; once the disk works and has space, run the same command again");
  }
  throw Error(Exit::Bug, "[sqlite] unreachable");
}

std::string describe() {
  const bool wal = wal_is_safe(sqlite3_libversion_number());
  return fmt::format("SQLite {}, journal {}, synchronous full, schema {}", sqlite3_libversion(),
                     wal ? "WAL" : "TRUNCATE (this version's WAL can lose commits)", kVersion);
}

}  // namespace moebius::sqlite
