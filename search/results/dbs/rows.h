#pragma once
#include <SQLiteCpp/Statement.h>

#include <cmath>
#include <optional>
#include <string>
#include <vector>

#include "search/results/dbs/connection.h"
#include "search/results/results_db.h"

// Values to rows and back.
namespace moebius::sqlite {

// Bytes that are not UTF-8 are replaced.
std::string valid_dump(const Json& json);

// A statement whose parameters are bound from left to right. NaN is NULL: "not measured". Only one
// of a text lives at a time: the connection keeps it prepared.
class Bound {
 public:
  template <class... Values>
  Bound(Connection& database, const std::string& sql, const Values&... values)
      : statement_(database.prepared(sql)) {
    (push(values), ...);
  }
  ~Bound() { statement_.tryReset(); }
  Bound(const Bound&) = delete;
  Bound& operator=(const Bound&) = delete;

  bool executeStep() { return statement_.executeStep(); }
  int exec() { return statement_.exec(); }
  SQLite::Column getColumn(int index) { return statement_.getColumn(index); }
  // For another row of values.
  void reset() {
    statement_.reset();
    index_ = 0;
  }
  void push(std::int64_t value) { statement_.bind(++index_, value); }
  void push(std::uint64_t value) { statement_.bind(++index_, static_cast<std::int64_t>(value)); }
  void push(int value) { statement_.bind(++index_, value); }
  void push(double value) {
    if (std::isnan(value)) return push_null();
    statement_.bind(++index_, value);
  }
  void push(const std::string& value) { statement_.bind(++index_, value); }
  void push(const Json& json) { statement_.bind(++index_, valid_dump(json)); }
  void push_null() { statement_.bind(++index_); }

 private:
  SQLite::Statement& statement_;
  int index_ = 0;
};

// false: it was there already, the same block under the same number.
bool insert_trial(Connection& database, std::int64_t study, const Trial& trial);
void insert_measurement(Connection& database, const TrialKey& trial, std::int64_t attempt,
                        const Outcome& outcome);
// Replaces what is stored of the attempt's curve.
void put_curve(Connection& database, const TrialKey& trial, std::int64_t attempt,
               const std::vector<CurvePoint>& points);
StudyRow study_row(Bound& row);  // of kStudyColumns
inline constexpr const char* kNow = "strftime('%Y-%m-%dT%H:%M:%fZ', 'now')";
inline constexpr const char* kStudyColumns =
    "id, name, files, space, recipe, options, seed, lag, provenance, redrawn, created";
// A trial with what it measured, without its curve.
std::optional<Trial> read_trial(Connection& database, const TrialKey& key);
std::vector<CurvePoint> read_curve(Connection& database, const TrialKey& key);
StudyCounts read_counts(Connection& database, std::int64_t study);  // in one snapshot
Json stored_json(const std::string& text);  // Error(Storage) when it is none
Spec stored_spec(const Json& json);         // the same

}  // namespace moebius::sqlite
