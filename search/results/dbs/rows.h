#pragma once
#include <SQLiteCpp/Database.h>
#include <SQLiteCpp/Statement.h>

#include <cmath>
#include <string>

#include "search/results/results_db.h"

// Values to rows and back.
namespace moebius::sqlite {

// Fields of Measurement by column name, listed once.
template <class M, class Visit>
void for_each_column(M& m, Visit&& visit) {
  visit("loss", m.loss);
  visit("native_loss", m.native_loss);
  visit("stopped_loss", m.stopped_loss);
  visit("stopped_step", m.stopped_step);
  visit("bits_per_byte", m.bits_per_byte);
  visit("causal", m.causal);
  visit("split", m.split);
  visit("epochs", m.epochs);
  visit("steps", m.steps);
  visit("tokens", m.tokens);
  visit("flops", m.flops);
  visit("cpu_seconds", m.cpu_seconds);
  visit("wall_seconds", m.wall_seconds);
  visit("virtual_seconds", m.virtual_seconds);
  visit("step_seconds", m.step_seconds);
  visit("step_ratio", m.step_ratio);
  visit("parameters", m.parameters);
  visit("active_parameters", m.active_parameters);
  visit("active_flops", m.active_flops);
  visit("peak_bytes", m.peak_bytes);
  visit("kept_pairs", m.kept_pairs);
  visit("dropped_pairs", m.dropped_pairs);
  visit("tokens_per_active_parameter", m.tokens_per_active_parameter);
  visit("result_hash", m.result_hash);
}

// Bytes that are not UTF-8 are replaced.
std::string valid_dump(const Json& json);

// A statement whose parameters are bound from left to right. NaN is NULL: "not measured".
class Bound : public SQLite::Statement {
 public:
  template <class... Values>
  Bound(SQLite::Database& database, const std::string& sql, const Values&... values)
      : SQLite::Statement(database, sql) {
    (push(values), ...);
  }
  void push(std::int64_t value) { bind(++index_, value); }
  void push(std::uint64_t value) { bind(++index_, static_cast<std::int64_t>(value)); }
  void push(int value) { bind(++index_, value); }
  void push(double value) {
    if (std::isnan(value)) return push_null();
    bind(++index_, value);
  }
  void push(const std::string& value) { bind(++index_, value); }
  void push(const Json& json) { bind(++index_, valid_dump(json)); }
  void push_null() { bind(++index_); }

 private:
  int index_ = 0;
};

// false: it was there already, the same block under the same number.
bool insert_trial(SQLite::Database& database, std::int64_t study, const Trial& trial);
void insert_measurement(SQLite::Database& database, const TrialKey& trial, std::int64_t attempt,
                        const Outcome& outcome);
// Replaces what is stored of the attempt's curve.
void put_curve(SQLite::Database& database, const TrialKey& trial, std::int64_t attempt,
               const std::vector<CurvePoint>& points);
StudyRow study_row(SQLite::Statement& row);  // of kStudyColumns
inline constexpr const char* kStudyColumns =
    "id, name, files, space, recipe, options, seed, lag, provenance, redrawn, created";
// All trials of a study with measurement and curve, in one snapshot.
History read_history(SQLite::Database& database, std::int64_t study);
Json stored_json(const std::string& text);  // Error(Storage) when it is none
Spec stored_spec(const Json& json);         // the same

}  // namespace moebius::sqlite
