#pragma once
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "search/commands/options.h"
#include "search/report/leaderboard.h"
#include "search/scaling/scaling.h"
#include "search/study/study.h"

namespace moebius {

// What a new study is made of; --seed-from and --baseline take block files or names.
struct StudyRequest {
  DbOptions db;
  std::string space = "brainformer-nano";
  std::string evaluator = "proxy", command, sampler = "evolution", budget = "20s";
  DataOptions data;
  RecipeOptions recipe;
  std::int64_t trials = 100, seed = 1, lag = 4, baseline_seeds = 1;
  double gate_margin = 0.02;
  std::vector<std::string> seed_from, baselines;
  bool service = false;  // ask: judged elsewhere, nothing runs here
};

// A study with all that it needs to run: database, space, evaluator.
class Session {
 public:
  // Creates the study or resumes it; nothing is written when the input is bad.
  static std::unique_ptr<Session> open(const StudyRequest& request);
  // An existing study as it was made. `data` replaces what the study recorded where it says
  // something. `trials`: search trials wanted; -1 = those there are (to add others), 0 = those the
  // study was made with.
  static std::unique_ptr<Session> reopen(DbOptions db, const DataOptions& data, bool service,
                                         std::int64_t trials);
  // A study of its own, named `name`, for `blocks` at another size, judged like the trials of
  // `row`: those without a trial are its baselines, the others get the role Scaled. When there is
  // such a study already it keeps its baselines and gets the blocks that it lacks.
  static std::unique_ptr<Session> scaled(DbOptions db, const StudyRow& row, const DataOptions& data,
                                         const std::string& name, const std::string& budget,
                                         const std::vector<ScaledBlock>& blocks);

  // Runs what is open to its end or until a signal: progress on stderr. The exit code: 0, 4 when
  // no trial has a loss, 128 + signal. `resume`: the command that goes on after a stop; empty =
  // the one that runs.
  int run(const std::string& resume = "");

  Study& study() { return *study_; }
  const Space& space() const { return *space_; }
  const Recipe& recipe() const { return recipe_; }
  const DbOptions& db() const { return db_; }
  std::int64_t vocab() const { return vocab_; }

 private:
  Session() = default;
  void take_workers(const DataOptions& data, std::int64_t lag);
  void make_evaluator(const std::string& name, EvaluatorOptions options);
  void make_study(StudyOptions options);
  std::string forecast() const;
  std::string why_no_step_time(const History& history) const;

  DbOptions db_;
  std::optional<Space> space_;
  Recipe recipe_;
  StudyOptions options_;
  std::int64_t vocab_ = 0, workers_ = 1;
  std::unique_ptr<Evaluator> evaluator_;  // null: judged elsewhere
  EvaluatorOptions evaluator_options_;
  std::unique_ptr<ResultsDb> results_;
  std::unique_ptr<Study> study_;
};

// The leaderboard of a study on stdout: at most `rows` rows, and the lines that explain it.
void print_leaderboard(const Leaderboard& board, const DbOptions& db, std::size_t rows);

}  // namespace moebius
