#include <unistd.h>

#include <algorithm>
#include <cmath>
#include <filesystem>

#include "search/commands/progress.h"
#include "search/commands/session.h"
#include "search/study/confirmation.h"
#include "search/study/forecast.h"
#include "search/study/weight_keeper.h"
#include "space/base/log.h"
#include "space/base/units.h"

namespace moebius {
namespace {

std::int64_t paused_trials(const History& history) {
  return std::count_if(history.open().begin(), history.open().end(), [&](std::int64_t number) {
    const Trial& trial = *history.find(number);
    return trial.state == TrialState::Waiting && trial.attempt > 0;
  });
}

// Whether a trial that counts has a loss: a study whose baselines alone have found nothing.
bool is_usable(const History& history) {
  if (history.count(TrialRole::Search) == 0) return history.count(TrialState::Done) > 0;
  const std::vector<const Trial*> baselines = history.of_role(TrialRole::Baseline);
  return history.count(TrialState::Done) >
         std::count_if(baselines.begin(), baselines.end(),
                       [](const Trial* trial) { return trial->state == TrialState::Done; });
}

}  // namespace

std::string Session::forecast_line() const {
  const StudyConfig& config = study_->config();
  ForecastInput input{data_.workers, 0, {}};
  if (!config.baselines.empty()) {
    Candidate candidate;
    candidate.spec = config.baselines.front().spec;
    candidate.recipe = config.recipe;
    candidate.budget = config.budget;
    input.peak_bytes = evaluator_->prepare(candidate).peak_bytes;
  }
  return forecast(config, study_->history(), layer_types(), input) +
         fmt::format("; study {} in {}", db_.study, db_.db);
}

int Session::run(const std::string& resume) {
  MOEBIUS_CHECK(evaluator_ != nullptr, "[session] study {} is judged elsewhere", db_.study);
  install_stop_signals();
  info("{}", forecast_line());
  const StudyConfig& config = study_->config();
  const std::string untimed =
      why_no_step_time(config, study_->history(), evaluator_->compares_steps());
  if (!untimed.empty()) info("{}", untimed);
  PoolOptions pool;
  pool.workers = static_cast<int>(data_.workers);
  pool.threads_per_trial = static_cast<int>(data_.threads);
  pool.memory_limit = resources().memory_limit;
  WeightKeeper keeper(*results_, study_->row(), study_files(db_.db, *results_, study_->row()));
  if (!keeper.files().none()) pool.keeper = &keeper;
  bool complete = false;
  {
    const History history = study_->history();
    ProgressDisplay progress(history, planned_trials(config, history), layer_types());
    complete = run_pool(*study_, *evaluator_, pool, progress);
  }
  if (!complete && stop_signal() != 0) {
    log_line(LogLevel::Quiet,
             fmt::format("stopped: {} paused; resume with: {}", paused_trials(study_->history()),
                         resume.empty() ? command_line() : resume));
    return 128 + stop_signal();
  }
  const History history = study_->history();
  return static_cast<int>(is_usable(history) ? Exit::Done : Exit::NoUsableTrial);
}

int Session::confirm(const std::string& resume) {
  const std::vector<SeedsWanted> wanted = seeds_to_confirm(config(), study_->history());
  if (wanted.empty()) return static_cast<int>(Exit::Done);
  std::int64_t trials = 0;
  for (const SeedsWanted& block : wanted) {
    const Spec spec = study_->history().find(block.number)->spec;
    study_->add({spec}, block.role, block.number, block.seeds);
    trials += block.seeds;
  }
  info(
      "the search has ended; for a verdict {} trainings with fresh seeds, --confirm 0 leaves "
      "them out",
      trials);
  return run(resume);
}

void Session::print(const Leaderboard& board) const {
  print_out(render(leaderboard_table(board), "table", terminal_width(STDOUT_FILENO, 0)));
  if (const auto shown = static_cast<std::int64_t>(board.rows.size()); shown < board.all)
    print_out(fmt::format("({} more: moebius top{})\n", board.all - shown, flags(db_)));
  print_out(leaderboard_notes(board, study_words(study_->row(), db_)));
}

}  // namespace moebius
