#pragma once
#include <optional>
#include <string>

namespace moebius {

// What a rule bounds. Costs are known before training, a step's time is measured.
enum class Metric { StepTime, ActiveFlops, Parameters };
std::string metric_text(Metric metric);  // "step_time", "active_flops", "parameters"

// A rule that a candidate must keep, relative to the baseline.
struct Constraint {
  Metric metric = Metric::ActiveFlops;
  std::string profile = "cpu-local";
  std::string scale = "proxy";
  std::optional<double> max_over_baseline, min_over_baseline;
};

}  // namespace moebius
