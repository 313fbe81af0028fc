#include <cmath>
#include <limits>

#include "search/stoppers/stopper.h"

namespace moebius {
namespace {

// Steps done at a quarter, rounded up.
std::int64_t quarter(std::int64_t steps) { return (steps + 3) / 4; }

// Asks once: at the first point at or beyond a quarter of the steps.
class Quarter : public Stopper {
 public:
  explicit Quarter(double margin) : margin_(margin) {}

  std::string why_pruned(const StopperView& view) const override {
    const std::int64_t at = quarter(view.steps);
    if (view.steps == 0 || view.before >= at || view.point.step < at) return "";
    const double limit = limit_of(view);
    if (!(view.point.valid_loss > limit)) return "";
    return fmt::format(
        "validation loss {:.4f} after {} of {} steps; allowed: {:.4f}, the baseline's at a quarter "
        "and the margin",
        view.point.valid_loss, view.point.step, view.steps, limit);
  }

 private:
  // The baseline's loss at its own quarter, and the margin; infinite without one.
  double limit_of(const StopperView& view) const {
    for (const CurvePoint& point : view.baseline)
      if (point.step >= quarter(view.baseline_steps) && std::isfinite(point.valid_loss))
        return point.valid_loss + margin_;
    return std::numeric_limits<double>::infinity();
  }

  const double margin_;  // nats
};

}  // namespace

StopperPlugin stoppers_quarter() {
  const Field margin = {
      .name = "margin",
      .kind = Field::Kind::Number,
      .low = 0,
      .high = 100,
      .fallback = {0.02},
      .help = "nats that a block may be worse than the baseline at a quarter of the budget"};
  return {.help = "prunes a block that is worse than the first baseline at a quarter",
          .options = {margin},
          .make = [](const Fields& options) {
            return std::make_unique<Quarter>(number(options, "margin"));
          }};
}

}  // namespace moebius
