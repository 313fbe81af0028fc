#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/wait.h>

#include <csignal>
#include <cstring>
#include <fstream>
#include <map>
#include <set>
#include <sstream>

#include "search/results/dbs/connection.h"
#include "search/results/dbs/owner_lock.h"
#include "sqlite_support.h"

namespace moebius {
namespace {

using namespace testing_support;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

TEST_F(SqliteTest, OpeningCreatesNothingUntilThereIsAStudy) {
  const auto db = open();
  EXPECT_TRUE(db->studies().empty());
  EXPECT_FALSE(db->find_study("first"));
  EXPECT_TRUE(db->check().empty());
  EXPECT_EQ(error_code([&] { db->query("SELECT 1", {}, {1}); }), Exit::BadInput);
  EXPECT_THAT(folder.list(), IsEmpty());
  EXPECT_EQ(error_code([&] { open(OpenMode::ReadOnly); }), Exit::BadInput);
  EXPECT_THAT(folder.list(), IsEmpty());
}

TEST_F(SqliteTest, TheDirectoryIsMadeWithTheFirstStudy) {
  const auto db = open_db(folder.file("runs/deep/r.db"), OpenMode::Create);
  EXPECT_THAT(folder.list(), IsEmpty());
  db->open_study(settings(), true);
  EXPECT_THAT(folder.list(), ElementsAre("runs"));
}

TEST_F(SqliteTest, ReadingLeavesNoTrace) {
  { fill(*open()); }
  const auto bytes = [&] {
    std::ostringstream text;
    text << std::ifstream(path, std::ios::binary).rdbuf();
    return text.str();
  };
  const std::string before = bytes();
  const std::vector<std::string> files = folder.list();
  {
    const auto db = open(OpenMode::ReadOnly);
    EXPECT_EQ(db->history(1).trials().size(), 40U);
    EXPECT_EQ(db->query("SELECT count(*) FROM trial", {}, {10}).rows[0][0], Json(40));
    EXPECT_THAT(db->check(), IsEmpty());
    EXPECT_EQ(error_code([&] { db->open_study(settings(), true); }), Exit::Storage);
    EXPECT_EQ(error_code([&] { db->release({1, 1}, 1, false); }), Exit::Storage);
  }
  EXPECT_EQ(bytes(), before);
  EXPECT_EQ(folder.list(), files);
}

TEST_F(SqliteTest, CommitsAreSynchronousWithAJournalThatThisLibraryMayUse) {
  const auto database = [&] {
    open()->open_study(settings(), false);
    return sqlite::connect(path, OpenMode::Create);
  }();
  EXPECT_EQ(database->execAndGet("PRAGMA synchronous").getInt(), 2);
  EXPECT_EQ(database->execAndGet("PRAGMA foreign_keys").getInt(), 1);
  EXPECT_EQ(database->execAndGet("PRAGMA journal_mode").getString(),
            sqlite::wal_is_safe(sqlite3_libversion_number()) ? "wal" : "truncate");
  EXPECT_THAT(open()->describe(), HasSubstr(sqlite3_libversion()));
}

TEST(WalGate, LeavesOutTheVersionsThatCanLoseCommits) {
  const std::map<int, bool> safe = {{3007000, false}, {3040001, false}, {3044005, false},
                                    {3044006, true},  {3045000, false}, {3050006, false},
                                    {3050007, true},  {3051000, false}, {3051002, false},
                                    {3051003, true},  {3052000, false}, {3053000, true}};
  for (const auto& [version, expected] : safe)
    EXPECT_EQ(sqlite::wal_is_safe(version), expected) << version;
}

TEST(SqliteError, AFullDiskIsStorageAndSaysHowToGoOn) {
  std::string line;
  const SQLite::Exception full("database or disk is full", SQLITE_FULL);
  EXPECT_EQ(error_code([&] { sqlite::raise("r.db", full); }, &line), Exit::Storage);
  EXPECT_EQ(line,
            "r.db: the disk is full; free space and run the same command again (database or disk "
            "is full)");
}

TEST_F(SqliteTest, ASecondOwnerIsRefusedNamingTheFirst) {
  auto first = open();
  first->open_study(settings(), true);
  const auto second = open();
  std::string line;
  EXPECT_EQ(error_code([&] { second->open_study(settings(), true); }, &line), Exit::NotOwner);
  EXPECT_THAT(line, HasSubstr("process " + std::to_string(getpid())));
  EXPECT_EQ(error_code([&] { second->open_study(settings(), false); }), Exit::Done);
  EXPECT_EQ(error_code([&] { second->open_study(settings("other"), true); }), Exit::Done);
  first.reset();
  EXPECT_EQ(error_code([&] { second->open_study(settings(), true); }), Exit::Done);
}

TEST_F(SqliteTest, LinksHaveOneOwnerAndACopyHasNone) {
  namespace fs = std::filesystem;
  const auto first = open();
  first->open_study(settings(), true);
  fs::create_directory(folder.file("elsewhere"));
  fs::create_symlink(path, folder.file("elsewhere/symbolic.db"));
  fs::create_hard_link(path, folder.file("elsewhere/hard.db"));
  fs::copy_file(path, folder.file("copy.db"));
  const auto code = [&](const std::string& name, std::string* line = nullptr) {
    const auto db = open_db(folder.file(name), OpenMode::Create);
    return error_code([&] { db->open_study(settings(), true); }, line);
  };
  std::string line;
  EXPECT_EQ(code("elsewhere/symbolic.db", &line), Exit::NotOwner);
  EXPECT_THAT(line, HasSubstr("process " + std::to_string(getpid())));
  EXPECT_EQ(code("elsewhere/hard.db"), Exit::NotOwner);
  EXPECT_EQ(code("copy.db"), Exit::Done);
  fs::rename(path, folder.file("moved.db"));
  EXPECT_EQ(code("moved.db"), Exit::NotOwner);
}

// SQLite's own locks are of the process: a descriptor of the file that is closed drops them all.
TEST_F(SqliteTest, ARefusedOwnerLeavesTheLocksOfSqliteAlone) {
  auto first = open();
  first->open_study(settings(), true);
  RawDb raw(path);
  ASSERT_EQ(raw.run("BEGIN IMMEDIATE"), SQLITE_OK);
  EXPECT_EQ(error_code([&] { sqlite::OwnerLock(path, "first"); }), Exit::NotOwner);
  first.reset();
  sqlite::OwnerLock(path, "first");
  const pid_t child = fork();
  if (child == 0) {
    struct flock reserved {};  // SQLite's reserved byte (os.h)
    reserved.l_type = F_WRLCK;
    reserved.l_start = 0x40000001;
    reserved.l_len = 1;
    fcntl(::open(path.c_str(), O_RDWR), F_GETLK, &reserved);
    _exit(reserved.l_type == F_UNLCK ? 1 : 0);
  }
  int status = -1;
  waitpid(child, &status, 0);
  EXPECT_EQ(status, 0);
}

TEST_F(SqliteTest, AFolderThatCannotBeWrittenIsNamed) {
  if (geteuid() == 0) GTEST_SKIP() << "root may write everywhere";
  open()->open_study(settings(), false);
  std::filesystem::permissions(folder.path(), std::filesystem::perms(0555));
  std::string line;
  EXPECT_EQ(error_code([&] { open(); }, &line), Exit::Storage);
  EXPECT_THAT(line, HasSubstr("its folder " + folder.path() + " cannot be written"));
  EXPECT_EQ(open(OpenMode::ReadOnly)->studies().size(), 1U);
  std::filesystem::permissions(folder.path(), std::filesystem::perms(0755));
}

TEST_F(SqliteTest, OwnershipEndsWithTheProcess) {
  int ready[2];
  ASSERT_EQ(pipe(ready), 0);
  const pid_t child = fork();
  if (child == 0) {
    const auto db = open();
    db->open_study(settings(), true);
    (void)!write(ready[1], "x", 1);
    pause();
  }
  char byte;
  ASSERT_EQ(read(ready[0], &byte, 1), 1);
  const auto db = open();
  std::string line;
  EXPECT_EQ(error_code([&] { db->open_study(settings(), true); }, &line), Exit::NotOwner);
  EXPECT_THAT(line, HasSubstr("process " + std::to_string(child)));
  kill(child, SIGKILL);
  waitpid(child, nullptr, 0);
  EXPECT_EQ(error_code([&] { db->open_study(settings(), true); }), Exit::Done);
}

// A writer says what it stored, and is killed; what it said is there, once, and the file is sound.
TEST_F(SqliteTest, WhatWasAcknowledgedSurvivesKill) {
  const std::int64_t study = open()->open_study(settings(), false).id;
  std::set<std::int64_t> acknowledged;
  Rng rng(5);
  for (int round = 0; round < 25; ++round) {
    int said[2];
    ASSERT_EQ(pipe(said), 0);
    const pid_t child = fork();
    if (child == 0) {
      const auto db = open();
      db->open_study(settings(), true);
      for (;;) {
        const History history = db->history(study);
        for (const Trial& trial : history.trials())
          if (trial.state == TrialState::Running)
            db->release({study, trial.number}, trial.attempt, true);
        const auto number = static_cast<std::int64_t>(history.trials().size());
        const Trial trial = history.first_open() < number ? *history.find(history.first_open())
                                                          : propose(*db, study, number, 1)[0];
        Outcome outcome = ended(Ending::Done, static_cast<double>(trial.number));
        outcome.curve = {{1, 2, 3, 4}, {2, 2, 3, 4}};
        finish(*db, trial, outcome);
        (void)!write(said[1], &trial.number, sizeof trial.number);
      }
    }
    close(said[1]);
    usleep(static_cast<useconds_t>(rng.below(40'000)));
    kill(child, SIGKILL);
    waitpid(child, nullptr, 0);
    for (std::int64_t number; read(said[0], &number, sizeof number) == sizeof number;)
      EXPECT_TRUE(acknowledged.insert(number).second) << number << " was finished twice";
    close(said[0]);
  }
  const auto db = open(OpenMode::ReadOnly);
  const History history = db->history(study);
  EXPECT_GT(acknowledged.size(), 25U);
  for (const std::int64_t number : acknowledged) {
    ASSERT_NE(history.find(number), nullptr) << number;
    EXPECT_EQ(history.find(number)->loss(), static_cast<double>(number));
    EXPECT_EQ(db->read_curve({study, number}).size(), 2U);
  }
  EXPECT_THAT(db->check(), IsEmpty());
}

TEST_F(SqliteTest, ManyProcessesCreateOneSchema) {
  std::vector<pid_t> children;
  for (int i = 0; i < 8; ++i) {
    children.push_back(fork());
    if (children.back() == 0) {
      const auto work = [&] { open()->open_study(settings("s" + std::to_string(i)), true); };
      _exit(static_cast<int>(error_code(work)));
    }
  }
  for (const pid_t child : children) {
    int status = -1;
    waitpid(child, &status, 0);
    EXPECT_TRUE(WIFEXITED(status) && WEXITSTATUS(status) == 0) << status;
  }
  EXPECT_EQ(open()->studies().size(), 8U);
  EXPECT_THAT(open()->check(), IsEmpty());
}

TEST_F(SqliteTest, WaitsForALockInsteadOfFailing) {
  const auto db = open();
  db->open_study(settings(), true);
  RawDb other(path);
  ASSERT_EQ(other.run("BEGIN EXCLUSIVE"), SQLITE_OK);
  std::atomic<bool> stored{false};
  std::thread writer([&] {
    db->remember(1, "k", 1);
    stored = true;
  });
  usleep(100'000);
  EXPECT_FALSE(stored);
  other.run("COMMIT");
  writer.join();
  EXPECT_TRUE(stored);
}

TEST_F(SqliteTest, FilesOfOthersAndOfLaterVersionsAreRefusedUntouched) {
  const auto refused = [&](const char* part) {
    for (const OpenMode mode : {OpenMode::Create, OpenMode::ReadOnly}) {
      std::string line;
      EXPECT_EQ(error_code([&] { open(mode); }, &line), Exit::Storage);
      EXPECT_THAT(line, HasSubstr(part));
    }
  };
  { open()->open_study(settings(), false); }
  RawDb(path).run("PRAGMA user_version = 4");
  refused("format 4, this one knows 3");
  std::filesystem::remove(path);
  RawDb(path).run("CREATE TABLE mine (x); PRAGMA application_id = 7");
  refused("not a Moebius database");
  std::ofstream(path)
      << "a text file, longer than a header of a database would be, really.........."
         "....................................................................";
  refused("not a database");
  std::filesystem::remove(path);
  std::filesystem::create_directory(path);
  refused("r.db: ");
}

TEST_F(SqliteTest, DamagedFilesGiveAnErrorOrAnAnswerButNoCrash) {
  { fill(*open()); }
  std::ostringstream text;
  text << std::ifstream(path, std::ios::binary).rdbuf();
  const std::string sound = text.str();
  Rng rng(9);
  int refused = 0;
  for (int i = 0; i < 150; ++i) {
    std::string bytes = sound;
    if (rng.below(4) == 0) bytes.resize(rng.below(bytes.size()));
    for (std::uint64_t k = rng.below(20); k > 0 && !bytes.empty(); --k)
      bytes[rng.below(bytes.size())] = static_cast<char>(rng.next());
    std::ofstream(path, std::ios::binary) << bytes;
    const Exit code = error_code([&] {
      const auto db = open(OpenMode::ReadOnly);
      if (!db->check().empty()) ++refused;
      for (const StudyRow& study : db->studies()) db->history(study.id);
      db->query("SELECT * FROM leaderboard", {}, {100});
    });
    EXPECT_TRUE(code == Exit::Done || code == Exit::Storage || code == Exit::BadInput)
        << static_cast<int>(code);
    refused += code != Exit::Done;
  }
  EXPECT_GT(refused, 50);
}

}  // namespace
}  // namespace moebius
