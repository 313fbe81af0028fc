#pragma once
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "search/results/history.h"
#include "search/results/records.h"
#include "space/base/registry.h"

namespace moebius {

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
  // study's count. Each is waiting, or running as if its owner had claimed it: attempt 1.
  virtual void propose(std::int64_t study, const std::vector<Trial>& trials,
                       std::int64_t redrawn) = 0;
  // waiting -> running, attempt + 1 (the same attempt after a graceful release). Returns the
  // attempt. A trial that `owner` is running already keeps its attempt.
  virtual std::int64_t claim(const TrialKey& trial, const std::string& owner) = 0;
  // The attempt's curve so far, from its start: replaces what is stored of it.
  virtual void curve(const TrialKey& trial, std::int64_t attempt,
                     const std::vector<CurvePoint>& points) = 0;
  // running -> a final state, with measurement and curve, in one transaction. The curve replaces
  // what is stored of the attempt: it may have been stopped and started again from step 0. false:
  // the attempt is not current, or the trial ended with another result; dropped. A loss that is not
  // finite is stored as diverged; other numbers that are not finite as "not measured".
  virtual bool finish(const TrialKey& trial, std::int64_t attempt, const Outcome& outcome) = 0;
  // running -> waiting: graceful (the attempt number is kept) or lost with its process (the next
  // claim counts; the 10th loss makes the trial failed). Not current: nothing happens.
  virtual void release(const TrialKey& trial, std::int64_t attempt, bool graceful) = 0;
  // The study as of now. The database must outlive it.
  virtual History history(std::int64_t study) = 0;
  // The curve of a trial's last attempt, as far as it is stored.
  virtual std::vector<CurvePoint> read_curve(const TrialKey& trial) = 0;
  virtual void artifact(const TrialKey& trial, const std::string& kind, const std::string& path,
                        const std::string& hash) = 0;
  virtual void artifact_gone(const TrialKey& trial, const std::string& kind) = 0;
  virtual std::vector<Artifact> artifacts(std::int64_t study) = 0;  // those not gone, by number
  // A small JSON value kept with the study ("baseline_step_seconds"): set once, later calls return
  // what is stored. A null `value` only reads; null when there is nothing.
  virtual Json remember(std::int64_t study, const std::string& key, const Json& value) = 0;

  // Read-only SQL: one SELECT, no attach, no pragma. Error(BadInput) otherwise, and when it takes
  // longer than the limit.
  virtual QueryResult query(const std::string& sql, const std::vector<Json>& bound,
                            const QueryLimits& limits) = 0;
  virtual std::string describe() const = 0;      // one line: library, journal, durability
  virtual std::vector<std::string> check() = 0;  // broken invariants, one line each; empty = sound
};

enum class OpenMode { ReadOnly, Create };

struct DbPlugin {
  std::string help;
  // `place` is what follows "NAME:" in the URL.
  std::function<std::unique_ptr<ResultsDb>(const std::string& place, OpenMode mode)> open;
  bool is_file = false;  // `place` is a path, and files of a study can lie beside it
};
const Registry<DbPlugin>& dbs();  // of dbs.def: sqlite, memory

// "sqlite:///rel.db", "sqlite:////abs.db" or a bare path; "memory:" for tests. ReadOnly never
// writes and needs no right to; Create makes the file (and its directory) with the first study.
std::unique_ptr<ResultsDb> open_db(const std::string& url, OpenMode mode);

// Shared by the implementations, so that all keep the same values.
inline constexpr std::int64_t kMaxLost = 10;  // lost attempts that make a trial failed
Outcome storable(Outcome outcome);         // the rules of finish() on numbers that are not finite
std::string random_id();                   // StudyRow::files of a new study
std::string block_text(const Spec& spec);  // "agaf x6"; "" of a type that is not known any more
std::string valid_text(const std::string& text);  // bytes that are not UTF-8 are replaced
Outcome lost_outcome();                           // what kMaxLost losses are recorded as
bool same_result(const Outcome& stored, const Outcome& given);  // a repeated finish()
TrialState final_state(Ending ending);                          // Error(Bug) for Stopped
// Error(BadInput) naming the first JSON pointer in which resumed settings differ from the stored.
void check_same_settings(const StudySettings& stored, const StudySettings& given);

}  // namespace moebius
