#pragma once
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "search/commands/options.h"
#include "search/report/leaderboard.h"
#include "search/scaling/scaling.h"
#include "search/study/factory.h"
#include "search/study/study.h"

namespace moebius {

// What a command asks of a study.
struct SessionRequest {
  DbOptions db;
  DataOptions data;
  StudyRequest study;
  std::vector<std::string> seed_from;  // blocks or files to try first
  std::string space;  // preset or file; "" = the study's, brainformer-nano for a new one
};

// Blocks or files that a study is to try first. Error(BadInput).
void add_seeds(StudyRequest& study, const std::vector<std::string>& blocks);

// A study with all that it needs to run: database, configuration, evaluator.
class Session {
 public:
  // Makes the study, or resumes it from itself: what is not said comes from it. Nothing is written
  // when the input is bad.
  static std::unique_ptr<Session> open(const SessionRequest& request);
  // A study that is there. With `proposes` it wants the search trials that it was made with, or
  // those of the request; without, those there are, to add others.
  static std::unique_ptr<Session> reopen(const DbOptions& db, const DataOptions& data,
                                         StudyRequest request, bool proposes);
  // A study of its own, named `name`, for `blocks` at another size, judged like the trials of
  // `row`: those without a trial are its baselines, the others get the role Scaled. When there is
  // such a study already it keeps its baselines and gets the blocks that it lacks.
  static std::unique_ptr<Session> scaled(const DbOptions& db, const StudyRow& row,
                                         const DataOptions& data, const std::string& name,
                                         const std::string& budget,
                                         const std::vector<ScaledBlock>& blocks);

  // Runs what is open to its end or until a signal: progress on stderr. The exit code: 0, 4 when
  // no trial has a loss, 128 + signal. `resume`: the command that goes on after a stop; empty =
  // the one that runs.
  int run(const std::string& resume = "");
  // After a search: trains the seeds that a verdict lacks, as `confirm` of the config says. Returns
  // as run().
  int confirm(const std::string& resume = "");

  // A leaderboard of the study on stdout, the lines that explain it and the verdict.
  void print(const Leaderboard& board) const;

  Study& study() { return *study_; }
  const StudyConfig& config() const { return study_->config(); }
  const DbOptions& db() const { return db_; }

 private:
  Session(const DbOptions& db, const DataOptions& data) : db_(db), data_(data) {}
  EvaluatorOptions resources() const;
  void start(MadeStudy made, const Json& provenance, bool service);
  std::string forecast_line() const;

  DbOptions db_;
  DataOptions data_;
  std::unique_ptr<Evaluator> evaluator_;  // null: judged elsewhere
  std::unique_ptr<ResultsDb> results_;
  std::unique_ptr<Study> study_;
};

}  // namespace moebius
