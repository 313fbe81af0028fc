#pragma once
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "search/history.h"

namespace moebius {

// What is fixed when a study is opened; resuming with another value exits 2 naming the first
// differing JSON pointer.
struct StudySettings {
  std::string name;
  Json space;    // document
  Json recipe;   // resolved, overrides applied
  Json options;  // budget, sampler, evaluator, data hash, lag, gate margin, baselines: what changes
                 // results
  std::uint64_t seed = 0;
  std::int64_t lag = 4;
  Json provenance;  // version, compiler, machine, command line: recorded, not compared
};

struct StudyRow {
  std::int64_t id = 0;
  StudySettings settings;
  std::int64_t redrawn = 0;  // statically infeasible draws
  std::string created;       // UTC, ISO 8601
};

struct QueryResult {
  std::vector<std::string> columns;
  std::vector<std::vector<Json>> rows;  // null, integer, double or string
};

// The record of every study: about ten transactional verbs, each one BEGIN IMMEDIATE .. COMMIT,
// durable on return and idempotent: after an error from COMMIT the same call may be made again.
// Writes carry (trial, attempt) and are refused when the attempt is not the current one. One object
// belongs to one process; calls are serialised inside. Error(Storage) for trouble with the store
// (after waiting out locks for 60 s), Error(NotOwner) when another process runs the study.
class ResultsDb {
 public:
  virtual ~ResultsDb() = default;

  // Creates the study or finds it with equal settings; takes the owner lock when `own` (released
  // with this object or death).
  virtual StudyRow open_study(const StudySettings& settings, bool own) = 0;
  virtual std::optional<StudyRow> find_study(const std::string& name) = 0;
  virtual std::vector<StudyRow> studies() = 0;

  // Appends trials with the numbers they carry (the next ones), all or none; adds `redrawn` to the
  // study's count.
  virtual void propose(std::int64_t study, std::vector<Trial>& trials,
                       std::int64_t redrawn) = 0;  // fills ids
  // waiting -> running, attempt + 1 (the same attempt after a graceful release). Returns the
  // attempt.
  virtual std::int64_t claim(std::int64_t trial) = 0;
  virtual void curve(std::int64_t trial, std::int64_t attempt,
                     const std::vector<CurvePoint>& points) = 0;
  // running -> a final state, with measurement and curve, in one transaction. false: the attempt is
  // not current; dropped.
  virtual bool finish(std::int64_t trial, std::int64_t attempt, const Outcome& outcome) = 0;
  // running -> waiting: graceful (the attempt number is kept) or lost with its process (the next
  // claim counts).
  virtual void release(std::int64_t trial, std::int64_t attempt, bool graceful) = 0;
  virtual History history(std::int64_t study) = 0;
  virtual void artifact(std::int64_t trial, const std::string& kind, const std::string& path,
                        const std::string& hash) = 0;
  virtual void artifact_gone(std::int64_t trial, const std::string& kind) = 0;
  // A small JSON value kept with the study ("gate_baseline"): set once, later calls return what is
  // stored.
  virtual Json remember(std::int64_t study, const std::string& key, const Json& value) = 0;

  // Read-only SQL by the user: one SELECT, no attach, no pragma, time and row limits.
  // Error(BadInput) otherwise.
  virtual QueryResult query(const std::string& sql, const std::vector<Json>& bound,
                            std::int64_t max_rows) = 0;
  virtual std::vector<std::string> check() = 0;  // broken invariants, one line each; empty = sound
};

enum class OpenMode { ReadOnly, Create };
// "sqlite:///rel.db", "sqlite:////abs.db" or a bare path; "memory:" for tests.
std::unique_ptr<ResultsDb> open_db(const std::string& url, OpenMode mode);

}  // namespace moebius
