#pragma once
#include <cstdint>
#include <optional>
#include <string>

#include "search/results/history.h"
#include "search/study/config.h"

namespace moebius {

// What a run of a study will take, as far as that is known without training anything.
struct ForecastInput {
  std::int64_t workers = 1;
  std::int64_t peak_bytes = 0;         // of the first baseline; 0 = not known
  std::optional<double> step_seconds;  // of the first baseline, where it was measured
};
// "46 trials x 20s = about 8m with 2 workers, about 38.2 MiB each". The time of budgets without a
// clock is said once the first baseline's step is known: from `input`, or from its trial.
std::string forecast(const StudyConfig& config, const History& history, const LayerTypes& types,
                     const ForecastInput& input);
// "" or why search trials that are still to come may be slower than the space allows, and what to
// do about it.
std::string why_no_step_time(const StudyConfig& config, const History& history,
                             bool compares_steps);
// Trials that are to end before the study is complete, all roles.
std::int64_t planned_trials(const StudyConfig& config, const History& history);

}  // namespace moebius
