#include "space/constraint.h"

#include "space/base/check.h"

namespace moebius {

std::string metric_text(Metric metric) {
  switch (metric) {
    case Metric::StepTime:
      return "step_time";
    case Metric::ActiveFlops:
      return "active_flops";
    case Metric::Parameters:
      return "parameters";
  }
  throw Error(Exit::Bug, "[space] a metric without a name");
}

}  // namespace moebius
