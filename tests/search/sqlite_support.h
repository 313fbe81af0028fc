#pragma once
#include <gtest/gtest.h>
#include <sqlite3.h>

#include <memory>
#include <string>
#include <vector>

#include "search_support.h"

namespace moebius::testing_support {

// Plain SQL behind the program's back.
class RawDb {
 public:
  explicit RawDb(const std::string& path) { sqlite3_open(path.c_str(), &handle_); }
  ~RawDb() { sqlite3_close(handle_); }
  int run(const std::string& sql) {
    return sqlite3_exec(handle_, sql.c_str(), nullptr, nullptr, nullptr);
  }

 private:
  sqlite3* handle_ = nullptr;
};

class SqliteTest : public ::testing::Test {
 protected:
  std::unique_ptr<ResultsDb> open(OpenMode mode = OpenMode::Create) { return open_db(path, mode); }
  std::vector<Trial> propose(ResultsDb& db, std::int64_t study, std::int64_t first,
                             std::int64_t count) {
    std::vector<Trial> trials;
    for (std::int64_t i = first; i < first + count; ++i) {
      Trial& trial = trials.emplace_back();
      trial.number = i;
      trial.role = TrialRole::Search;
      Rng rng(static_cast<std::uint64_t>(i));
      trial.point = space.sample(rng);
      trial.spec = space.resolve(trial.point);
      trial.spec_hash = spec_hash(trial.spec);
    }
    db.propose(study, trials, 0);
    return trials;
  }
  static Outcome ended(Ending ending, double loss) {
    Outcome outcome;
    outcome.ending = ending;
    outcome.measurement.loss = outcome.measurement.stopped_loss = loss;
    return outcome;
  }
  void finish(ResultsDb& db, const Trial& trial, const Outcome& outcome) {
    const TrialKey key{1, trial.number};
    db.finish(key, db.claim(key, "a:1"), outcome);
  }
  StudySettings settings(const std::string& name = "first") const {
    return study_settings(space, 10, name);
  }
  // A study with trials of every kind, random losses and step times.
  void fill(ResultsDb& db) {
    const std::int64_t study = db.open_study(settings(), false).id;
    const Ending endings[] = {Ending::Done,       Ending::Done, Ending::Pruned,
                              Ending::Diverged,   Ending::Done, Ending::Infeasible,
                              Ending::OutOfMemory};
    std::vector<Trial> trials = propose(db, study, 0, 40);
    Rng rng(1);
    for (Trial& trial : trials) {
      Outcome outcome = ended(endings[trial.number % 7], 1 + static_cast<double>(rng.below(20)));
      outcome.measurement.step_seconds = 1 + static_cast<double>(rng.below(10));
      outcome.message = "because";
      finish(db, trial, outcome);
    }
  }

  Folder folder;
  const std::string path = folder.file("r.db");
  const Space space = small_space();
};

}  // namespace moebius::testing_support
