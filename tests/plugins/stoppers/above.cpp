#include "search/stoppers/stopper.h"

namespace moebius {
namespace {

class Above : public Stopper {
 public:
  explicit Above(double loss) : loss_(loss) {}

  std::string why_pruned(const StopperView& view) const override {
    if (!(view.point.valid_loss > loss_)) return "";
    return fmt::format("loss {:.4f} at step {}; allowed: {:.4f}", view.point.valid_loss,
                       view.point.step, loss_);
  }

 private:
  const double loss_;
};

}  // namespace

StopperPlugin stoppers_above() {
  return {.help = "prunes at the first point above a loss",
          .options = {{.name = "loss",
                       .kind = Field::Kind::Number,
                       .low = 0,
                       .high = 100,
                       .fallback = {10.0},
                       .help = "nats per token"}},
          .make = [](const Fields& options) {
            return std::make_unique<Above>(number(options, "loss"));
          }};
}

}  // namespace moebius
