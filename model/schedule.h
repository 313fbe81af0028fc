#pragma once
#include <cstdint>
#include <string>
#include <vector>

#include "space/recipe.h"

namespace moebius {

// Factor on the learning rate at step t of n (0-based), a pure function of the budget fraction:
//   "constant_rsqrt": 1 for the first 10 % of the budget, then 1/sqrt(t / t_constant), as in the
//                     Adafactor runs of 2306.00008
//   "wsd":            1, then linear to zero over the last `decay` of the budget
// Both warm up linearly over the recipe's `warmup`. Error(BadInput) for an unknown name.
double schedule(const Recipe& recipe, std::int64_t t, std::int64_t n);
std::vector<std::string> schedule_names();

}  // namespace moebius
