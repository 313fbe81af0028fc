#pragma once
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "evaluator/training/outcome.h"
#include "space/base/registry.h"
#include "space/layer_type.h"

namespace moebius {

// What a stopper may look at when a search trial reports a point of its curve.
struct StopperView {
  const CurvePoint& point;
  std::int64_t before = 0;                  // step of the trial's point before it; 0 = none
  std::int64_t steps = 0;                   // of the whole trial; 0 = not known
  const std::vector<CurvePoint>& baseline;  // curve of the first baseline; empty: there is none
  std::int64_t baseline_steps = 0;
};

// Ends search trials early. A pure function of the view, called at every point by the thread that
// trains; must be quick.
class Stopper {
 public:
  virtual ~Stopper() = default;
  // "" = go on; else why the trial is pruned, with the numbers.
  virtual std::string why_pruned(const StopperView& view) const = 0;
};

struct StopperPlugin {
  std::string help;
  // What --stopper-option sets; stored with the study.
  std::vector<Field> options = {};
  // `options` has a value for each of them.
  std::function<std::unique_ptr<Stopper>(const Fields& options)> make;
};
const Registry<StopperPlugin>& stoppers();  // of stoppers.def

}  // namespace moebius
