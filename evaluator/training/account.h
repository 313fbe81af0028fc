#pragma once
#include "evaluator/training/candidate.h"
#include "space/cost.h"

namespace moebius {

// The static columns of a measurement: parameters, active parameters and FLOPs.
void put_cost(const Cost& cost, Measurement& measurement);
// Steps, tokens, FLOPs and tokens per active parameter of `steps` trained steps. Reads what
// put_cost wrote.
void put_training(const Cost& cost, std::int64_t steps, Measurement& measurement);
// The same from a number of tokens, for a trainer whose steps have another size.
void put_tokens(const Cost& cost, std::int64_t tokens, Measurement& measurement);
// The last validation loss of an attempt that did not finish, and the step it was stopped at.
void put_stop(const std::vector<CurvePoint>& curve, std::int64_t step, Measurement& measurement);

}  // namespace moebius
