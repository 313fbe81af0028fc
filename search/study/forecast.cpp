#include "search/study/forecast.h"

#include <algorithm>
#include <iterator>

#include "search/study/confirmation.h"
#include "space/base/units.h"

namespace moebius {
namespace {

// Of one trial, like the first baseline's; 0 = not known.
double trial_seconds(const StudyConfig& config, const History& history, const LayerTypes& types,
                     const ForecastInput& input) {
  if (config.budget.timed()) return config.budget.amount;
  if (config.budget.unit == Budget::Unit::Virtual) return 0;
  const Trial* first = history.find(0);
  const bool done = first != nullptr && first->state == TrialState::Done;
  const double step = input.step_seconds ? *input.step_seconds
                      : done             ? first->outcome->measurement.step_seconds
                                         : 0;
  if (!(step > 0)) return 0;
  const Cost one = cost(config.baselines.front().spec, types, config.recipe, config.vocab);
  return step * static_cast<double>(steps_of(config.budget, {one.tokens, one.step_flops, step}));
}

}  // namespace

std::int64_t planned_trials(const StudyConfig& config, const History& history) {
  const std::int64_t searched = history.count(TrialRole::Search),
                     based = history.count(TrialRole::Baseline);
  const std::int64_t first =
      static_cast<std::int64_t>(config.baselines.size()) * config.baseline_seeds;
  const std::int64_t others =
      std::max(most_seeds_to_confirm(config), history.size() - searched - based);
  return std::max(config.trials, searched) + std::max(first, based) + others;
}

std::string forecast(const StudyConfig& config, const History& history, const LayerTypes& types,
                     const ForecastInput& input) {
  const std::int64_t total = planned_trials(config, history);
  const std::int64_t left = total - history.size() + std::ssize(history.open());
  std::string text = fmt::format("{} trials x {}", total, to_string(config.budget));
  if (left < total) text += fmt::format(", {} left", left);
  if (left <= 0 || config.baselines.empty()) return text;
  const double seconds = trial_seconds(config, history, types, input);
  const auto parallel = static_cast<double>(std::min(input.workers, left));
  if (seconds > 0)
    text += " = about " + seconds_text(seconds * static_cast<double>(left) / parallel);
  text += fmt::format(" with {} worker{}", input.workers, input.workers == 1 ? "" : "s");
  if (input.peak_bytes > 0) text += ", about " + bytes_text(input.peak_bytes) + " each";
  return text;
}

std::string why_no_step_time(const StudyConfig& config, const History& history,
                             bool compares_steps) {
  const auto& rules = config.space.constraints();
  const auto limit = std::find_if(rules.begin(), rules.end(), [](const Constraint& rule) {
    return rule.metric == Metric::StepTime;
  });
  const bool searches =
      history.count(TrialRole::Search) < config.trials ||
      std::any_of(history.open().begin(), history.open().end(), [&](std::int64_t number) {
        return history.find(number)->role == TrialRole::Search;
      });
  if (!searches || limit == rules.end() || (compares_steps && config.budget.timed())) return "";
  return fmt::format(
      "not applied: the step-time constraint of {} (at most {:g} x the baseline's): {}",
      config.space.name(), *limit->max_over_baseline,
      compares_steps
          ? fmt::format("with --budget {} steps are not timed; a budget in seconds, as in search "
                        "--budget 20s, applies it",
                        to_string(config.budget))
          : "an external trainer's steps are not timed beside the baseline's; let it end a "
            "slow trial with \"ending\": \"infeasible\"");
}

}  // namespace moebius
