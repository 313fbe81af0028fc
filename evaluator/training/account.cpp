#include "evaluator/training/account.h"

#include <cmath>

namespace moebius {

void put_cost(const Cost& cost, Measurement& measurement) {
  measurement.parameters = cost.parameters;
  measurement.active_parameters = cost.active_parameters;
  measurement.active_flops = cost.active_flops;
}

void put_training(const Cost& cost, std::int64_t steps, Measurement& measurement) {
  measurement.steps = steps;
  put_tokens(cost, steps * cost.tokens, measurement);
}

void put_tokens(const Cost& cost, std::int64_t tokens, Measurement& measurement) {
  measurement.tokens = tokens;
  measurement.flops =
      cost.step_flops * (static_cast<double>(tokens) / static_cast<double>(cost.tokens));
  if (cost.active_parameters > 0)
    measurement.tokens_per_active_parameter =
        static_cast<double>(measurement.tokens) / static_cast<double>(cost.active_parameters);
}

void put_stop(const std::vector<CurvePoint>& curve, std::int64_t step, Measurement& measurement) {
  measurement.stopped_step = step;
  for (const CurvePoint& point : curve)
    if (std::isfinite(point.valid_loss)) measurement.stopped_loss = point.valid_loss;
}

}  // namespace moebius
