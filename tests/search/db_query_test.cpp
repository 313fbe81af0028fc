#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <set>

#include "search/results/statistics.h"
#include "space/scale.h"
#include "sqlite_support.h"

// What the schema, its views, check() and query() promise to a reader of the file.
namespace moebius {
namespace {

using namespace testing_support;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

class SqliteQueryTest : public SqliteTest {};

TEST_F(SqliteQueryTest, TheSchemaItselfRefusesNonsense) {
  { fill(*open()); }
  RawDb raw(path);
  raw.run("PRAGMA foreign_keys = ON");
  EXPECT_NE(raw.run("UPDATE measurement SET loss = NULL WHERE ending = 'done'"), SQLITE_OK);
  EXPECT_NE(raw.run("UPDATE measurement SET loss = 1 WHERE ending = 'pruned'"), SQLITE_OK);
  EXPECT_NE(raw.run("UPDATE measurement SET loss = 9e999 WHERE ending = 'done'"), SQLITE_OK);
  EXPECT_NE(raw.run("UPDATE measurement SET loss = 'low' WHERE ending = 'done'"), SQLITE_OK);
  EXPECT_NE(raw.run("UPDATE trial SET state = 'lost'"), SQLITE_OK);
  EXPECT_NE(raw.run("UPDATE trial SET number = 0"), SQLITE_OK);
  EXPECT_NE(raw.run("DELETE FROM study"), SQLITE_OK);
}

TEST_F(SqliteQueryTest, CheckNamesWhatIsBroken) {
  { fill(*open()); }
  const auto broken = [&](const std::string& sql, const char* part) {
    const std::string copy = folder.file("copy.db");
    std::filesystem::copy_file(path, copy, std::filesystem::copy_options::overwrite_existing);
    ASSERT_EQ(RawDb(copy).run(sql), SQLITE_OK) << sql;
    EXPECT_THAT(open_db(copy, OpenMode::ReadOnly)->check(), ::testing::Contains(HasSubstr(part)))
        << sql;
  };
  EXPECT_THAT(open()->check(), IsEmpty());
  broken("DELETE FROM trial WHERE number = 5", "contiguous");
  broken("DELETE FROM measurement WHERE number = 3", "exactly one measurement");
  broken("UPDATE trial SET attempt = 2 WHERE number = 0", "exactly one measurement");
  broken("UPDATE trial SET state = 'failed' WHERE number = 0", "disagree");
  broken("UPDATE trial SET state = 'waiting' WHERE number = 0", "not ended has a measurement");
  broken("UPDATE trial SET spec = replace(spec, '32', '48')", "does not hash");
  broken("DELETE FROM sublayer WHERE position = '1'", "sub-layer rows");
  broken("INSERT INTO curve VALUES (1, 1, 9, 1, 1, 1, 1)", "never was");
}

TEST_F(SqliteQueryTest, TheLeaderboardIsTheOrderOfTrials) {
  const auto db = open();
  fill(*db);
  std::vector<Trial> order;
  for (const Trial& trial : db->history(1).trials()) order.push_back(trial);
  std::sort(order.begin(), order.end(), ranks_before);
  const QueryResult rows = db->query("SELECT number, rank, state FROM leaderboard", {}, {1000});
  ASSERT_EQ(rows.rows.size(), order.size());
  for (std::size_t i = 0; i < order.size(); ++i) {
    EXPECT_EQ(rows.rows[i][0], Json(order[i].number));
    EXPECT_EQ(rows.rows[i][1], Json(i + 1));
    EXPECT_EQ(rows.rows[i][2], Json(state_text(order[i].state)));
  }
}

TEST_F(SqliteQueryTest, BlocksAreTheRowsOfTop) {
  const auto db = open();
  fill(*db);
  const History before = db->history(1);
  std::vector<Trial> more;
  for (const std::int64_t number : {0, 1, 4}) {
    for (const TrialRole role : {TrialRole::Rerun, TrialRole::Noise}) {
      Trial& trial = more.emplace_back(*before.find(number));
      trial.number = before.size() + std::ssize(more) - 1;
      trial.role = role;
    }
  }
  db->propose(1, more, 0);
  // Some seeds are worse than the block's first, some better.
  for (const Trial& trial : more) {
    const double loss = trial.number % 2 == 0 ? 1.5 : 0.25;
    finish(*db, trial, ended(Ending::Done, loss + 0.01 * static_cast<double>(trial.number)));
  }
  const Ranking ranking = rank_blocks(db->history(1));
  const auto rows = db->query(
                          "SELECT number, role, block, spec_hash, seeds, loss, sd, fresh_seeds,"
                          " lowest, highest FROM blocks WHERE study = 'first'",
                          {}, {1000})
                        .rows;
  ASSERT_EQ(rows.size(), ranking.blocks.size());
  int repeated = 0;
  for (std::size_t i = 0; i < rows.size(); ++i) {
    const BlockResult& block = ranking.blocks[i];
    EXPECT_EQ(rows[i][0], Json(block.number));
    EXPECT_EQ(rows[i][1], Json(role_text(block.role)));
    EXPECT_EQ(rows[i][2], Json(block.block));
    EXPECT_EQ(rows[i][3], Json(block.spec_hash));
    EXPECT_EQ(rows[i][4], Json(block.loss.n));
    EXPECT_NEAR(rows[i][5].get<double>(), block.loss.mean, 1e-12);
    EXPECT_EQ(rows[i][6].is_null(), block.loss.n < 2);
    if (block.loss.n > 1) {
      EXPECT_NEAR(rows[i][6].get<double>(), block.loss.sd, 1e-9);
    }
    EXPECT_EQ(rows[i][7], Json(block.fresh.n));
    EXPECT_EQ(rows[i][8], Json(block.lowest));
    EXPECT_EQ(rows[i][9], Json(block.highest));
    repeated += block.loss.n > 1;
  }
  EXPECT_GE(repeated, 3);
}

// One word for a field: of the table, the views, --where and JSON.
TEST_F(SqliteQueryTest, TheColumnsAreTheFieldsOfMeasurement) {
  const auto db = open();
  fill(*db);
  std::vector<std::string> fields = {"study", "number", "attempt", "ending", "message"};
  const auto trials = db->query("SELECT * FROM trials", {}, {0}).columns;
  for_each_field(Measurement(), [&](const MeasurementField& field, const auto&) {
    fields.push_back(field.name);
    EXPECT_THAT(trials, ::testing::Contains(std::string(field.name)));
    EXPECT_STRNE(field.help, "");
  });
  // A column that came later stands last in a file that was taken over, and in a new one.
  EXPECT_THAT(db->query("SELECT * FROM measurement", {}, {0}).columns,
              ::testing::UnorderedElementsAreArray(fields));
}

TEST_F(SqliteQueryTest, ParetoHoldsWhatNothingBeats) {
  const auto db = open();
  fill(*db);
  std::set<std::pair<double, double>> front;
  const History history = db->history(1);
  const auto cost = [](const Trial& trial) {
    return std::pair(trial.outcome->measurement.step_seconds, trial.loss());
  };
  for (const Trial& trial : history.trials()) {
    const bool beaten =
        std::any_of(history.trials().begin(), history.trials().end(), [&](const Trial& other) {
          return cost(other).first <= cost(trial).first &&
                 cost(other).second <= cost(trial).second && cost(other) != cost(trial);
        });
    if (trial.state == TrialState::Done && !beaten) front.insert(cost(trial));
  }
  std::set<std::pair<double, double>> found;
  for (const auto& row : db->query("SELECT step_seconds, loss FROM pareto", {}, {1000}).rows)
    EXPECT_TRUE(found.emplace(row[0], row[1]).second);
  EXPECT_EQ(found, front);
  EXPECT_GT(front.size(), 2U);
}

TEST_F(SqliteQueryTest, LineageAndFailuresTellTheirStories) {
  const auto db = open();
  const std::int64_t study = db->open_study(settings(), false).id;
  std::vector<Trial> trials = propose(*db, study, 0, 2);
  std::vector<Trial> child{trials[1]};
  child[0].number = 2;
  child[0].parent = 1;
  db->propose(study, child, 0);
  child[0].number = 3;
  child[0].parent = 2;
  db->propose(study, child, 0);
  const auto rows =
      db->query("SELECT ancestor FROM lineage WHERE number = ? AND study = ?", {3, "first"}, {10});
  EXPECT_THAT(rows.rows, ElementsAre(ElementsAre(3), ElementsAre(2), ElementsAre(1)));
  Outcome outcome = ended(Ending::Diverged, 7);
  outcome.message = "loss nan at step 7";
  finish(*db, trials[0], outcome);
  EXPECT_THAT(db->query("SELECT number, message FROM failures", {}, {10}).rows,
              ElementsAre(ElementsAre(0, "loss nan at step 7")));
}

TEST_F(SqliteQueryTest, SublayersAreRows) {
  const auto db = open();
  const std::int64_t study = db->open_study(settings(), false).id;
  std::vector<Trial> trials(1);
  trials[0].role = TrialRole::Baseline;
  trials[0].spec = baseline("glam-nano", types());
  trials[0].spec_hash = spec_hash(trials[0].spec);
  db->propose(study, trials, 0);
  const auto rows = db->query(
      "SELECT position, type, heads, field_position, d_ffn, experts, gating, capacity"
      " FROM sublayers WHERE type IN ('attn', 'moe') ORDER BY position LIMIT 2",
      {}, {10});
  ASSERT_EQ(rows.rows.size(), 2U);
  for (const auto& row : rows.rows) {
    const bool attention = row[1] == "attn";
    EXPECT_EQ(row[2].is_null(), !attention);
    EXPECT_EQ(row[3].is_null(), !attention);
    EXPECT_TRUE(row[4].is_null());
    EXPECT_EQ(row[5].is_null(), attention);
    EXPECT_EQ(row[6].is_null(), attention);
  }
}

TEST_F(SqliteQueryTest, QueriesReadAndDoNothingElse) {
  const auto db = open();
  fill(*db);
  EXPECT_EQ(db->query("SELECT number FROM trial ORDER BY number", {}, {7}).rows.size(), 7U);
  EXPECT_EQ(db->query("WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 9)"
                      " SELECT sum(i) FROM n",
                      {}, {1})
                .rows[0][0],
            Json(45));
  EXPECT_EQ(
      db->query("SELECT ?, ?, ?, ?;  ", {1, 2.5, "x'; DROP TABLE trial", nullptr}, {1}).rows[0],
      (std::vector<Json>{1, 2.5, "x'; DROP TABLE trial", nullptr}));
  EXPECT_NO_THROW((void)db->query("SELECT x'ff00'", {}, {1}).rows[0][0].dump());
  for (const char* sql :
       {"DELETE FROM trial", "UPDATE trial SET number = 1", "DROP TABLE trial",
        "INSERT INTO note VALUES (1, 'a', '1')", "PRAGMA user_version = 5",
        "PRAGMA table_info(trial)", "ATTACH '/tmp/x.db' AS x", "SELECT 1; SELECT 2",
        "SELECT 1; DELETE FROM trial", "BEGIN", "VACUUM INTO '/tmp/moebius-x.db'",
        "SELECT load_extension('x')", "", "SELEC 1", "SELECT nothing FROM trial",
        "SELECT zeroblob(1000000000)", "CREATE TEMP TABLE x (y)"}) {
    std::string line;
    EXPECT_EQ(error_code([&] { db->query(sql, {}, {10}); }, &line), Exit::BadInput) << sql << line;
  }
  EXPECT_EQ(error_code([&] { db->query("SELECT ?", {}, {10}); }), Exit::BadInput);
  const char* endless =
      "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n)"
      " SELECT sum(i) FROM n";
  EXPECT_EQ(error_code([&] { db->query(endless, {}, {1, 1}); }), Exit::BadInput);
  EXPECT_EQ(db->history(1).trials().size(), 40U);
}

}  // namespace
}  // namespace moebius
