#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include <csignal>
#include <fstream>
#include <sstream>

#include "failing_sync.h"
#include "sqlite_support.h"

// Disks that fail and writers that are killed in the middle of a transaction.
namespace moebius {
namespace {

using namespace testing_support;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

TEST_F(SqliteTest, AFailedCommitIsReadAgainBeforeItIsRepeated) {
  const FailingSync failing;
  for (const bool after : {false, true})
    for (int k = 1; k <= 12; ++k) {
      const Folder fresh;
      const auto db = open_db(fresh.file("r.db"), OpenMode::Create);
      const std::int64_t study = db->open_study(settings(), false).id;
      FailingSync::after = after;
      FailingSync::countdown = k;
      propose(*db, study, 0, 2);
      const std::int64_t attempt = db->claim({study, 0}, "a:1");
      EXPECT_EQ(attempt, 1);
      EXPECT_TRUE(db->finish({study, 0}, attempt, ended(Ending::Done, 1)));
      db->release({study, 1}, db->claim({study, 1}, "a:1"), false);
      EXPECT_LE(FailingSync::countdown, 0) << "the fault was never reached";
      FailingSync::countdown = 0;
      const History history = db->history(study);
      EXPECT_EQ(history.trials().size(), 2U);
      EXPECT_EQ(history.find(0)->loss(), 1);
      EXPECT_EQ(db->claim({study, 1}, "a:1"), 2);
      EXPECT_THAT(db->check(), IsEmpty());
    }
}

class HotJournalTest : public SqliteTest {
 protected:
  static constexpr std::int64_t kPoints = 2000;  // of a curve: many pages

  std::string bytes() const {
    std::ostringstream text;
    text << std::ifstream(path, std::ios::binary).rdbuf();
    return text.str();
  }
  // A process that is killed in the k-th fsync of a finish(), if there are so many. Whether it was.
  bool kill_writer(int k) {
    const auto db = open();
    study = db->open_study(settings(), false).id;
    propose(*db, study, 0, 1);
    const std::int64_t attempt = db->claim({study, 0}, "a:1");
    before = bytes();
    const pid_t child = fork();
    if (child == 0) {
      const FailingSync failing;
      const auto mine = open();
      Outcome outcome = ended(Ending::Done, 2);
      for (std::int64_t step = 1; step <= kPoints; ++step) outcome.curve.push_back({step, 3, 3, 1});
      FailingSync::kills = true;
      FailingSync::countdown = k;
      mine->finish({study, 0}, attempt, outcome);
      _exit(0);
    }
    int status = 0;
    waitpid(child, &status, 0);
    return WIFSIGNALED(status);
  }
  // The journal of a transaction that had begun to change the file.
  bool hot() const {
    std::ifstream journal(path + "-journal", std::ios::binary);
    return journal.peek() > 0 && bytes() != before;
  }

  std::int64_t study = 0;
  std::string before;
};

TEST_F(HotJournalTest, AReaderFindsTheDataAsBeforeTheTransaction) {
  int torn = 0;
  for (int k = 1;; ++k) {
    const bool killed = kill_writer(k);
    const bool half = hot();
    torn += half;
    const auto reader = open(OpenMode::ReadOnly);
    const Json points = reader->query("SELECT count(*) FROM curve", {}, {1}).rows[0][0];
    const Trial trial = *reader->history(study).find(0);
    const bool stored = trial.state == TrialState::Done;
    EXPECT_TRUE(stored || trial.state == TrialState::Running) << k;
    EXPECT_EQ(points, Json(stored ? kPoints : 0)) << k;
    EXPECT_FALSE(half && stored) << k;
    EXPECT_THAT(reader->check(), IsEmpty()) << k;
    EXPECT_EQ(bytes() == before, !stored) << k;
    if (!killed) break;
    std::filesystem::remove(path);
    std::filesystem::remove(path + "-journal");
  }
  EXPECT_GT(torn, 0) << "no kill met a file that was half written";
}

// A reader who is not root, and the rights that it has to the directory and the files in it.
TEST_F(HotJournalTest, AReaderThatMayNotRollBackSaysSo) {
  int k = 1;
  while (kill_writer(k) && !hot()) {
    ++k;
    std::filesystem::remove(path);
    std::filesystem::remove(path + "-journal");
  }
  ASSERT_TRUE(hot());
  for (const auto& [folder_mode, file_mode] : {std::pair{0555, 0444}, {0555, 0666}, {0777, 0444}}) {
    chmod(folder.file("").c_str(), static_cast<mode_t>(folder_mode));
    for (const char* name : {"", "-journal"})
      chmod((path + name).c_str(), static_cast<mode_t>(file_mode));
    int said[2];
    ASSERT_EQ(pipe(said), 0);
    const pid_t child = fork();
    if (child == 0) {
      if (getuid() == 0 && setuid(65534) != 0) _exit(99);  // rights do not bind root
      std::string line;
      const Exit code = error_code([&] { open(OpenMode::ReadOnly)->history(study); }, &line);
      (void)!write(said[1], line.data(), line.size());
      _exit(static_cast<int>(code));
    }
    close(said[1]);
    std::string line(1000, ' ');
    line.resize(static_cast<std::size_t>(std::max<ssize_t>(0, read(said[0], line.data(), 1000))));
    close(said[0]);
    int status = 0;
    waitpid(child, &status, 0);
    EXPECT_EQ(WEXITSTATUS(status), static_cast<int>(Exit::Storage)) << folder_mode << line;
    EXPECT_THAT(line, HasSubstr("a writer was killed and left")) << folder_mode << " " << file_mode;
  }
  chmod(folder.file("").c_str(), 0777);
  EXPECT_EQ(open(OpenMode::ReadOnly)->history(study).find(0)->state, TrialState::Running);
}

TEST_F(SqliteTest, AnErrorThatStaysIsExitStorage) {
  const FailingSync failing;
  const auto db = open();
  const std::int64_t study = db->open_study(settings(), false).id;
  propose(*db, study, 0, 1);
  FailingSync::always = true;
  std::string line;
  EXPECT_EQ(error_code([&] { db->claim({study, 0}, "a:1"); }, &line), Exit::Storage);
  EXPECT_THAT(line, HasSubstr(path));
  FailingSync::always = false;
  EXPECT_EQ(db->claim({study, 0}, "a:1"), 1);
}

}  // namespace
}  // namespace moebius
