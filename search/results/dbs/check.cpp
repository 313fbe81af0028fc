#include "search/results/dbs/check.h"

#include "search/results/dbs/rows.h"

namespace moebius::sqlite {
namespace {

struct Invariant {
  const char* line;  // what is broken; {} = study and trial
  const char* sql;   // rows (study name, number) that break it
};

constexpr Invariant kInvariants[] = {
    {"trial numbers are not contiguous",
     "SELECT s.name, count(*) FROM trial t JOIN study s ON s.id = t.study"
     " GROUP BY s.id HAVING count(*) <> max(t.number) + 1"},
    {"an ended trial needs exactly one measurement, that of its last attempt",
     "SELECT s.name, t.number FROM trial t JOIN study s ON s.id = t.study"
     " LEFT JOIN measurement m ON m.study = t.study AND m.number = t.number"
     " WHERE t.state NOT IN ('waiting', 'running') GROUP BY t.study, t.number"
     " HAVING count(m.attempt) <> 1 OR max(m.attempt) <> t.attempt"},
    {"a trial that has not ended has a measurement",
     "SELECT s.name, t.number FROM trial t JOIN study s ON s.id = t.study"
     " JOIN measurement m ON m.study = t.study AND m.number = t.number WHERE t.state IN "
     "('waiting', 'running')"},
    {"state and measurement disagree, or a loss stands without 'done'",
     "SELECT s.name, t.number FROM trial t JOIN study s ON s.id = t.study"
     " JOIN measurement m ON m.study = t.study AND m.number = t.number"
     " WHERE m.ending <> t.state OR (t.state = 'done') <> (m.loss IS NOT NULL)"},
    {"lost attempts exceed attempts",
     "SELECT s.name, t.number FROM trial t JOIN study s ON s.id = t.study"
     " WHERE t.lost > t.attempt"},
    {"a curve belongs to an attempt that never was",
     "SELECT s.name, t.number FROM trial t JOIN study s ON s.id = t.study"
     " JOIN curve c ON c.study = t.study AND c.number = t.number"
     " WHERE c.attempt > t.attempt GROUP BY t.study, t.number"},
    {"sub-layer rows differ from the block",
     "SELECT s.name, t.number FROM trial t JOIN study s ON s.id = t.study"
     " WHERE (SELECT count(DISTINCT position) FROM sublayer l"
     "        WHERE l.study = t.study AND l.number = t.number AND position NOT LIKE '%/%')"
     " <> CASE WHEN json_valid(t.spec) THEN json_array_length(t.spec, '$.sublayers') END"},
};

}  // namespace

std::vector<std::string> broken_invariants(SQLite::Database& database) {
  std::vector<std::string> lines;
  SQLite::Statement integrity(database, "PRAGMA integrity_check(20)");
  while (integrity.executeStep())
    if (const std::string line = integrity.getColumn(0).getString(); line != "ok")
      lines.push_back("integrity: " + line);
  SQLite::Statement keys(database, "PRAGMA foreign_key_check");
  while (keys.executeStep())
    lines.push_back("foreign key: a row of " + keys.getColumn(0).getString() + " has no parent");
  for (const Invariant& invariant : kInvariants) {
    SQLite::Statement broken(database, invariant.sql);
    while (broken.executeStep())
      lines.push_back(fmt::format("study {} trial {}: {}", broken.getColumn(0).getString(),
                                  broken.getColumn(1).getInt64(), invariant.line));
  }
  SQLite::Statement specs(database,
                          "SELECT s.name, t.number, t.spec, t.spec_hash FROM trial t"
                          " JOIN study s ON s.id = t.study");
  while (specs.executeStep()) {
    const Json spec = Json::parse(specs.getColumn(2).getString(), nullptr, false);
    if (spec.is_discarded() || json_hash(spec) != specs.getColumn(3).getString())
      lines.push_back(fmt::format("study {} trial {}: the block does not hash to its spec_hash",
                                  specs.getColumn(0).getString(), specs.getColumn(1).getInt64()));
  }
  return lines;
}

}  // namespace moebius::sqlite
