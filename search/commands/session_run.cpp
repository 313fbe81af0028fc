#include <unistd.h>

#include <algorithm>
#include <cmath>
#include <filesystem>

#include "evaluator/training/budget.h"
#include "search/commands/progress.h"
#include "search/commands/session.h"
#include "space/base/log.h"
#include "space/base/units.h"

namespace moebius {
namespace {

// Trials that are to end before the study is complete, all roles.
std::int64_t planned_trials(const History& history, const StudyOptions& options,
                            std::size_t baselines) {
  const std::int64_t search = std::max(options.trials, history.count(TrialRole::Search));
  const std::int64_t first = static_cast<std::int64_t>(baselines) * options.baseline_seeds;
  const std::int64_t others = static_cast<std::int64_t>(history.trials().size()) -
                              history.count(TrialRole::Search) - history.count(TrialRole::Baseline);
  return search + std::max(first, history.count(TrialRole::Baseline)) + others;
}

std::int64_t final_trials(const History& history) {
  return std::count_if(history.trials().begin(), history.trials().end(),
                       [](const Trial& trial) { return trial.final(); });
}

std::int64_t paused_trials(const History& history) {
  return std::count_if(history.trials().begin(), history.trials().end(), [](const Trial& trial) {
    return trial.state == TrialState::Waiting && trial.attempt > 0;
  });
}

}  // namespace

// "46 trials x 20s = about 8m with 2 workers; 38.2 MiB each; study first in r.db"
std::string Session::forecast() const {
  const std::vector<Baseline> baselines =
      options_.baselines ? *options_.baselines : space_baselines(*space_, layer_types());
  const History history = study_->history();
  const std::int64_t total = planned_trials(history, options_, baselines.size());
  const std::int64_t left = total - final_trials(history);
  std::string text = fmt::format("{} trials x {}", total, to_string(options_.budget));
  if (left < total) text += fmt::format(", {} left", left);
  if (left > 0 && !baselines.empty()) {
    Candidate candidate;
    candidate.spec = baselines.front().spec;
    candidate.recipe = recipe_;
    candidate.budget = options_.budget;
    double seconds = options_.budget.amount;
    if (!options_.budget.timed()) {
      const Cost gate = cost(candidate.spec, layer_types(), recipe_, vocab_);
      const Trial* first = history.find(0);
      const double known = first != nullptr && first->state == TrialState::Done
                               ? first->outcome->measurement.step_seconds
                               : 0;
      const double step =
          known > 0 ? known : evaluator_->step_seconds(candidate.spec, recipe_, false);
      const StepCost each = {gate.tokens, gate.step_flops, step};
      seconds = options_.budget.unit == Budget::Unit::Virtual
                    ? 0
                    : step * static_cast<double>(steps_of(options_.budget, each));
    }
    const double parallel = static_cast<double>(std::min(workers_, left));
    if (seconds > 0)
      text += " = about " + seconds_text(seconds * static_cast<double>(left) / parallel);
    text += fmt::format(" with {} worker{}", workers_, workers_ == 1 ? "" : "s");
    if (const std::int64_t bytes = evaluator_->peak_bytes(candidate); bytes > 0)
      text += ", about " + bytes_text(bytes) + " each";
  }
  return text + fmt::format("; study {} in {}", db_.study, db_.db);
}

// "" or why search trials that are still to come may be slower than the space allows, and what to
// do about it.
std::string Session::why_no_step_time(const History& history) const {
  const auto limit =
      std::find_if(space_->constraints().begin(), space_->constraints().end(),
                   [](const Constraint& constraint) { return constraint.metric == "step_time"; });
  const bool searches =
      history.count(TrialRole::Search) < options_.trials ||
      std::any_of(history.trials().begin(), history.trials().end(), [](const Trial& trial) {
        return trial.role == TrialRole::Search && !trial.final();
      });
  const bool compares = evaluator_->compares_steps();
  if (!searches || limit == space_->constraints().end() || (compares && options_.budget.timed()))
    return "";
  return fmt::format(
      "not applied: the step-time constraint of {} (at most {:g} x the baseline's): {}",
      space_->name(), limit->max_over_baseline,
      compares
          ? fmt::format("with --budget {} steps are not timed; a budget in seconds, as in search "
                        "--budget 20s, applies it",
                        to_string(options_.budget))
          : "an external trainer's steps are not timed beside the baseline's; let it end a "
            "slow trial with \"ending\": \"infeasible\"");
}

int Session::run(const std::string& resume) {
  MOEBIUS_CHECK(evaluator_ != nullptr, "[session] study {} is judged elsewhere", db_.study);
  install_stop_signals();
  info("{}", forecast());
  if (const std::string line = why_no_step_time(study_->history()); !line.empty()) info("{}", line);
  PoolOptions pool;
  pool.workers = static_cast<int>(workers_);
  pool.threads_per_trial = evaluator_options_.threads;
  pool.memory_limit = evaluator_options_.memory_limit;
  pool.checkpoints = files_of(db_);
  bool complete = false;
  {
    const std::vector<Baseline> baselines =
        options_.baselines ? *options_.baselines : space_baselines(*space_, layer_types());
    const History history = study_->history();
    ProgressDisplay progress(history, planned_trials(history, options_, baselines.size()),
                             layer_types());
    complete = run_pool(*study_, *evaluator_, pool, progress);
  }
  if (!complete && stop_signal() != 0) {
    log_line(LogLevel::Quiet,
             fmt::format("stopped: {} paused; resume with: {}", paused_trials(study_->history()),
                         resume.empty() ? command_line() : resume));
    return 128 + stop_signal();
  }
  const History history = study_->history();
  // A study whose baselines alone have losses found nothing.
  const bool searched = history.count(TrialRole::Search) > 0;
  const bool usable =
      std::any_of(history.trials().begin(), history.trials().end(), [&](const Trial& trial) {
        return std::isfinite(trial.loss()) && !(searched && trial.role == TrialRole::Baseline);
      });
  return static_cast<int>(usable ? Exit::Done : Exit::NoUsableTrial);
}

void print_leaderboard(const Leaderboard& board, const DbOptions& db, std::size_t rows) {
  Table table = leaderboard_table(board, layer_types());
  const std::size_t all = table.rows.size();
  if (rows < all) table.rows.resize(rows);
  print_out(render(table, "table", terminal_width(STDOUT_FILENO, 0)));
  if (rows < all) print_out(fmt::format("({} more: moebius top{})\n", all - rows, flags(db)));
  print_out(leaderboard_notes(board, flags(db)));
}

}  // namespace moebius
