#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/file.h>
#include <sys/wait.h>
#include <unistd.h>

#include <csignal>
#include <fstream>
#include <sstream>

#include "failing_sync.h"
#include "sqlite_support.h"

// Files of schema 1: read as they are, taken over by whoever writes.
namespace moebius {
namespace {

using namespace testing_support;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

constexpr char kSchema1[] = R"sql(
CREATE TABLE study (
  id INTEGER PRIMARY KEY,
  name TEXT NOT NULL UNIQUE,
  space TEXT NOT NULL,
  recipe TEXT NOT NULL,
  options TEXT NOT NULL,
  seed INTEGER NOT NULL,
  lag INTEGER NOT NULL CHECK (lag >= 1),
  provenance TEXT NOT NULL,
  redrawn INTEGER NOT NULL DEFAULT 0 CHECK (redrawn >= 0),
  created TEXT NOT NULL DEFAULT (strftime('%Y-%m-%dT%H:%M:%fZ', 'now'))
) STRICT;
CREATE TABLE trial (
  id INTEGER PRIMARY KEY,
  study INTEGER NOT NULL REFERENCES study (id),
  number INTEGER NOT NULL CHECK (number >= 0),
  role TEXT NOT NULL CHECK (role IN ('baseline', 'search', 'rerun', 'noise', 'control', 'scaled')),
  label TEXT NOT NULL DEFAULT '',
  state TEXT NOT NULL DEFAULT 'waiting' CHECK (state IN
    ('waiting', 'running', 'done', 'pruned', 'diverged', 'infeasible', 'out_of_memory', 'failed')),
  attempt INTEGER NOT NULL DEFAULT 0 CHECK (attempt >= 0),
  resumable INTEGER NOT NULL DEFAULT 0 CHECK (resumable IN (0, 1)),
  lost INTEGER NOT NULL DEFAULT 0 CHECK (lost >= 0),
  point TEXT,
  spec TEXT NOT NULL,
  spec_hash TEXT NOT NULL CHECK (length(spec_hash) = 32),
  parent INTEGER CHECK (parent < number),
  op TEXT NOT NULL DEFAULT '',
  seed INTEGER NOT NULL,
  owner TEXT NOT NULL DEFAULT '',
  created TEXT NOT NULL DEFAULT (strftime('%Y-%m-%dT%H:%M:%fZ', 'now')),
  started TEXT,
  ended TEXT,
  UNIQUE (study, number),
  FOREIGN KEY (study, parent) REFERENCES trial (study, number),
  CHECK (state IN ('waiting', 'failed') OR attempt >= 1)
) STRICT;
CREATE INDEX trial_by_block ON trial (study, spec_hash);
CREATE TABLE sublayer (
  trial INTEGER NOT NULL REFERENCES trial (id) ON DELETE CASCADE,
  position INTEGER NOT NULL CHECK (position >= 0),
  type TEXT NOT NULL,
  d_model INTEGER NOT NULL,
  heads INTEGER,
  head_dim INTEGER,
  position_kind TEXT,
  qkv_conv INTEGER,
  d_ffn INTEGER,
  activation TEXT,
  d_moe INTEGER,
  experts INTEGER,
  gating TEXT,
  capacity ANY,
  routing_group TEXT,
  PRIMARY KEY (trial, position)
) STRICT, WITHOUT ROWID;
CREATE TABLE measurement (
  trial INTEGER NOT NULL REFERENCES trial (id) ON DELETE CASCADE,
  attempt INTEGER NOT NULL,
  ending TEXT NOT NULL CHECK (ending IN
    ('done', 'pruned', 'diverged', 'infeasible', 'out_of_memory', 'failed')),
  message TEXT NOT NULL DEFAULT '',
  loss REAL CHECK (abs(loss) < 1e30),
  native_loss REAL,
  stopped_loss REAL,
  stopped_step INTEGER NOT NULL,
  bits_per_byte REAL,
  causal TEXT NOT NULL,
  split TEXT NOT NULL,
  epochs REAL,
  steps INTEGER NOT NULL,
  tokens INTEGER NOT NULL,
  flops REAL,
  cpu_seconds REAL,
  wall_seconds REAL,
  virtual_seconds REAL,
  step_seconds REAL,
  step_ratio REAL,
  parameters INTEGER NOT NULL,
  active_parameters INTEGER NOT NULL,
  active_flops REAL,
  peak_bytes INTEGER NOT NULL,
  kept_pairs REAL,
  dropped_pairs REAL,
  tokens_per_active_parameter REAL,
  result_hash TEXT NOT NULL,
  PRIMARY KEY (trial, attempt),
  CHECK ((ending = 'done') = (loss IS NOT NULL))
) STRICT;
CREATE TABLE curve (
  trial INTEGER NOT NULL REFERENCES trial (id) ON DELETE CASCADE,
  attempt INTEGER NOT NULL,
  step INTEGER NOT NULL,
  train_loss REAL,
  valid_loss REAL,
  cpu_seconds REAL,
  PRIMARY KEY (trial, attempt, step)
) STRICT, WITHOUT ROWID;
CREATE TABLE artifact (
  trial INTEGER NOT NULL REFERENCES trial (id) ON DELETE CASCADE,
  kind TEXT NOT NULL,
  path TEXT NOT NULL,
  hash TEXT NOT NULL,
  gone INTEGER NOT NULL DEFAULT 0 CHECK (gone IN (0, 1)),
  PRIMARY KEY (trial, kind)
) STRICT, WITHOUT ROWID;
CREATE TABLE note (
  study INTEGER NOT NULL REFERENCES study (id) ON DELETE CASCADE,
  key TEXT NOT NULL,
  value TEXT NOT NULL,
  PRIMARY KEY (study, key)
) STRICT, WITHOUT ROWID;
CREATE VIEW leaderboard AS
SELECT study.name AS study,
       row_number() OVER (PARTITION BY study.id ORDER BY trial.state <> 'done',
         trial.state <> 'pruned', measurement.loss,
         CASE trial.state WHEN 'pruned' THEN measurement.stopped_loss END NULLS LAST,
         trial.number) AS rank,
       trial.number, trial.role, trial.label, trial.state, measurement.loss,
       measurement.stopped_loss, measurement.causal, measurement.native_loss,
       measurement.bits_per_byte, measurement.tokens, measurement.steps, measurement.step_seconds,
       measurement.parameters, measurement.active_parameters, measurement.active_flops,
       measurement.tokens_per_active_parameter, measurement.peak_bytes, trial.seed, trial.parent,
       trial.op, trial.spec_hash, measurement.message
FROM trial
JOIN study ON study.id = trial.study
JOIN measurement ON measurement.trial = trial.id AND measurement.attempt = trial.attempt
ORDER BY study.name, rank;
CREATE VIEW pareto AS
SELECT study, number, role, label, loss, step_seconds, causal, parameters, active_parameters,
       spec_hash
FROM (
  SELECT *, min(loss) OVER (PARTITION BY study ORDER BY step_seconds, loss, number
                            ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING) AS best_faster
  FROM leaderboard WHERE state = 'done' AND step_seconds > 0)
WHERE best_faster IS NULL OR loss < best_faster
ORDER BY study, step_seconds;
CREATE VIEW lineage AS
WITH RECURSIVE line (study, number, ancestor, distance) AS (
  SELECT study, number, number, 0 FROM trial
  UNION ALL
  SELECT line.study, line.number, trial.parent, line.distance + 1
  FROM line JOIN trial ON trial.study = line.study AND trial.number = line.ancestor
  WHERE trial.parent IS NOT NULL)
SELECT study.name AS study, line.number, line.distance, line.ancestor, trial.role, trial.op,
       trial.state, measurement.loss, trial.spec_hash
FROM line
JOIN study ON study.id = line.study
JOIN trial ON trial.study = line.study AND trial.number = line.ancestor
LEFT JOIN measurement ON measurement.trial = trial.id AND measurement.attempt = trial.attempt
ORDER BY study.name, line.number, line.distance;
CREATE VIEW failures AS
SELECT study.name AS study, trial.number, trial.role, trial.label, trial.state,
       measurement.message, measurement.stopped_step, measurement.stopped_loss, trial.attempt,
       trial.lost, trial.spec_hash
FROM trial
JOIN study ON study.id = trial.study
LEFT JOIN measurement ON measurement.trial = trial.id AND measurement.attempt = trial.attempt
WHERE trial.state NOT IN ('waiting', 'running', 'done')
ORDER BY study.name, trial.number;
)sql";

// Two studies that share no trial number with the ids of the table.
constexpr char kRows[] = R"sql(
PRAGMA application_id = 1299146082;
PRAGMA user_version = 1;
INSERT INTO study VALUES
  (1, 'a', '{}', '{}', '{}', 7, 4, '{}', 3, 'then'), (2, 'b', '{}', '{}', '{}', -1, 4, '{}', 0, 'now');
INSERT INTO trial VALUES
  (7, 2, 0, 'baseline', 'base', 'done', 1, 0, 0, NULL, '{"d_model":32,"stacks":2,"sublayers":[{"type":"ffn","activation":"gelu","d_ffn":64},{"type":"moe","capacity":2.0,"gating":"top2"}]}', '0123456789abcdef0123456789abcdef', NULL, '', 7, 'h:1', 'c', 's', 'e'),
  (8, 1, 0, 'search', '', 'running', 2, 0, 1, '[0,1]', '{"d_model":48,"stacks":1,"sublayers":[{"type":"gone","x":"none"}]}', '0123456789abcdef0123456789abcdee', NULL, 'random', -1, 'h:2', 'c', 's', NULL),
  (9, 2, 1, 'search', '', 'pruned', 1, 0, 0, '[1,1]', '{"d_model":32,"stacks":2,"sublayers":[{"type":"ffn","activation":"gelu","d_ffn":96}]}', '0123456789abcdef0123456789abcded', 0, 'nudge', 7, 'h:1', 'c', 's', 'e');
INSERT INTO measurement (trial, attempt, ending, message, loss, stopped_loss, stopped_step, causal, split, steps, tokens, parameters, active_parameters, peak_bytes, result_hash)
VALUES (7, 1, 'done', '', 2.5, NULL, 0, 'yes', 'validation', 9, 99, 5, 4, 3, 'h7'),
       (9, 1, 'pruned', 'too slow', NULL, 3.5, 2, 'yes', 'validation', 2, 22, 5, 4, 3, 'h9');
INSERT INTO curve VALUES (7, 1, 1, 3.0, NULL, 0.5), (8, 2, 1, 4.0, 4.5, 0.5), (9, 1, 2, 3.5, 3.5, 1);
INSERT INTO artifact VALUES (7, 'weights', 'w7', 'h7', 0), (9, 'weights', 'w9', 'h9', 1);
INSERT INTO note VALUES (2, 'k', '0.25');
)sql";

class Migration : public SqliteTest {
 protected:
  Migration() {
    RawDb raw(path);
    EXPECT_EQ(raw.run(kSchema1), SQLITE_OK);
    EXPECT_EQ(raw.run(kRows), SQLITE_OK);
    before = bytes();
  }
  std::string bytes() const {
    std::ostringstream text;
    text << std::ifstream(path, std::ios::binary).rdbuf();
    return text.str();
  }
  // What the file of kRows says, whatever its version.
  static void expect_rows(ResultsDb& db) {
    ASSERT_EQ(db.studies().size(), 2U);
    const StudyRow a = *db.find_study("a"), b = *db.find_study("b");
    EXPECT_EQ(a.redrawn, 3);
    EXPECT_EQ(b.settings.seed, 0xFFFFFFFFFFFFFFFFULL);
    EXPECT_THAT(a.files, ::testing::MatchesRegex("[0-9a-f]{32}"));
    EXPECT_NE(a.files, b.files);
    const History first = db.history(a.id), second = db.history(b.id);
    ASSERT_EQ(first.trials().size(), 1U);
    ASSERT_EQ(second.trials().size(), 2U);
    const Trial& base = *second.find(0);
    EXPECT_EQ(base.loss(), 2.5);
    EXPECT_EQ(base.label, "base");
    EXPECT_EQ(base.op, Operator::None);
    EXPECT_EQ(base.spec.sublayers[1].fields.at("capacity"), Value(2.0));
    EXPECT_FALSE(base.budget);
    EXPECT_FALSE(base.recipe);
    const Trial& pruned = *second.find(1);
    EXPECT_EQ(pruned.parent, 0);
    EXPECT_EQ(pruned.op, Operator::Nudge);
    EXPECT_EQ(pruned.outcome->measurement.stopped_loss, 3.5);
    EXPECT_EQ(pruned.outcome->message, "too slow");
    EXPECT_THAT(pruned.point, ElementsAre(1, 1));
    EXPECT_EQ(first.find(0)->state, TrialState::Running);
    EXPECT_EQ(first.find(0)->attempt, 2);
    ASSERT_EQ(db.artifacts(b.id).size(), 1U);
    EXPECT_EQ(db.artifacts(b.id)[0].path, "w7");
    EXPECT_EQ(db.remember(b.id, "k", Json()), Json(0.25));
    EXPECT_THAT(
        db.query("SELECT study, number, position, type, d_ffn, capacity FROM sublayers", {}, {9})
            .rows,
        ElementsAre(ElementsAre("a", 0, "0", "gone", nullptr, nullptr),
                    ElementsAre("b", 0, "0", "ffn", 64, nullptr),
                    ElementsAre("b", 0, "1", "moe", nullptr, 2.0),
                    ElementsAre("b", 1, "0", "ffn", 96, nullptr)));
    EXPECT_THAT(
        db.query("SELECT number, block, loss, operator FROM trials WHERE study = 'b'", {}, {9})
            .rows,
        ElementsAre(ElementsAre(0, "fg x2", 2.5, nullptr),
                    ElementsAre(1, "f x2", nullptr, "nudge")));
    EXPECT_THAT(db.query("SELECT study, number, step FROM curve", {}, {9}).rows,
                ElementsAre(ElementsAre(1, 0, 1), ElementsAre(2, 0, 1), ElementsAre(2, 1, 2)));
  }

  std::string before;
};

TEST_F(Migration, AReaderSeesTheNewTablesAndLeavesTheFileAlone) {
  const std::vector<std::string> files = folder.list();
  expect_rows(*open(OpenMode::ReadOnly));
  EXPECT_EQ(bytes(), before);
  EXPECT_EQ(folder.list(), files);
}

TEST_F(Migration, AWriterTakesTheFileOverOnce) {
  open();
  EXPECT_NE(bytes(), before);
  const std::string files = open(OpenMode::ReadOnly)->find_study("a")->files;
  const auto db = open();
  expect_rows(*db);
  EXPECT_EQ(db->find_study("a")->files, files);
  const char* left = "SELECT name FROM sqlite_schema WHERE type = 'table' AND name LIKE '%1'";
  EXPECT_THAT(db->query(left, {}, {99}).rows, IsEmpty());
  db->release({1, 0}, 2, false);
  EXPECT_EQ(db->claim({1, 0}, "me"), 3);
}

// The release that wrote schema 1 locks this file while it runs the study.
TEST_F(Migration, WaitsForTheOlderReleaseToEnd) {
  const int theirs = ::open((path + ".owner-b").c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0644);
  ASSERT_EQ(flock(theirs, LOCK_EX | LOCK_NB), 0);
  EXPECT_EQ(error_code([&] { open(); }), Exit::NotOwner);
  EXPECT_EQ(bytes(), before);
  close(theirs);
  expect_rows(*open());
}

// Version 2 had the same tables without what the probe found of the mode that ranks.
TEST_F(Migration, AFileOfSchema2KeepsItsTables) {
  open();
  EXPECT_EQ(RawDb(path).run(R"sql(
    DROP VIEW trials; DROP VIEW leaderboard; DROP VIEW blocks; DROP VIEW pareto;
    DROP VIEW lineage; DROP VIEW failures; ALTER TABLE measurement DROP COLUMN ranked_causal;
    CREATE VIEW trials AS SELECT loss FROM measurement; CREATE VIEW leaderboard AS SELECT 1;
    CREATE VIEW blocks AS SELECT 1; CREATE VIEW pareto AS SELECT 1;
    CREATE VIEW lineage AS SELECT 1; CREATE VIEW failures AS SELECT 1;
    PRAGMA user_version = 2;)sql"),
            SQLITE_OK);
  expect_rows(*open(OpenMode::ReadOnly));
  expect_rows(*open());
  EXPECT_THAT(
      open()->query("SELECT causal, ranked_causal, gap FROM trials WHERE loss = 2.5", {}, {9}).rows,
      ElementsAre(ElementsAre("yes", nullptr, nullptr)));
  EXPECT_THAT(open()->check(), ::testing::Each(::testing::HasSubstr("does not hash")));
}

TEST_F(Migration, ADamagedBlockDoesNotLockTheFile) {
  RawDb(path).run("UPDATE trial SET spec = 'no json' WHERE id = 8");
  EXPECT_EQ(open(OpenMode::ReadOnly)->studies().size(), 2U);
  EXPECT_THAT(open()->check(), ::testing::Not(IsEmpty()));
}

// A writer that is killed in its k-th fsync, or whose k-th fsync fails.
TEST_F(Migration, IsWholeOrHasNotHappened) {
  int torn = 0;
  for (const bool kills : {true, false})
    for (int k = 1;; ++k) {
      std::ofstream(path, std::ios::binary) << before;
      std::filesystem::remove(path + "-journal");
      const pid_t child = fork();
      if (child == 0) {
        const FailingSync failing;
        FailingSync::kills = kills;
        FailingSync::countdown = k;
        const Exit code = error_code([&] { open(); });
        _exit(FailingSync::countdown > 0 ? 77 : static_cast<int>(code));
      }
      int status = 0;
      waitpid(child, &status, 0);
      torn += bytes() != before;
      if (!kills && WEXITSTATUS(status) != 77) {
        EXPECT_TRUE(WEXITSTATUS(status) == 0 ||
                    WEXITSTATUS(status) == static_cast<int>(Exit::Storage))
            << k;
      }
      {
        SCOPED_TRACE(k);
        expect_rows(*open(OpenMode::ReadOnly));
        expect_rows(*open());
      }
      if (!WIFSIGNALED(status) && (kills || WEXITSTATUS(status) == 77)) break;
    }
  EXPECT_GT(torn, 1);
}

TEST_F(Migration, ManyProcessesMigrateOnce) {
  std::vector<pid_t> children;
  for (int i = 0; i < 8; ++i) {
    children.push_back(fork());
    if (children.back() == 0) {
      const Exit code = error_code([&] {
        if (i % 2 == 0)
          open();
        else
          open(OpenMode::ReadOnly)->history(2);
      });
      _exit(static_cast<int>(code));
    }
  }
  for (const pid_t child : children) {
    int status = -1;
    waitpid(child, &status, 0);
    EXPECT_TRUE(WIFEXITED(status) && WEXITSTATUS(status) == 0) << status;
  }
  expect_rows(*open());
}

// A study that the last release with schema 1 made.
TEST_F(Migration, ARealStudyRanksAsBefore) {
  const std::filesystem::path study = shared_file("data/studies/demo-schema1.db");
  if (!std::filesystem::exists(study))
    GTEST_SKIP() << "no data/studies/demo-schema1.db (set MOEBIUS_SHARED)";
  using std::filesystem::perms;
  std::filesystem::remove(path);
  std::filesystem::copy_file(study, path);
  std::filesystem::permissions(path, perms::owner_read | perms::owner_write);
  const std::string shown = "SELECT number, state, loss, block FROM leaderboard";
  const auto reader = open(OpenMode::ReadOnly);
  const auto rows = reader->query(shown, {}, {100}).rows;
  ASSERT_EQ(rows.size(), 21U);
  std::vector<Trial> order;
  for (const Trial& trial : reader->history(1).trials()) order.push_back(trial);
  std::sort(order.begin(), order.end(), ranks_before);
  for (std::size_t i = 0; i < order.size(); ++i) EXPECT_EQ(rows[i][0], Json(order[i].number));
  const auto writer = open();
  EXPECT_EQ(writer->query(shown, {}, {100}).rows, rows);
  EXPECT_THAT(writer->check(), IsEmpty());
  EXPECT_EQ(writer->artifacts(1).size(), 5U);
}

}  // namespace
}  // namespace moebius
