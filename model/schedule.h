#pragma once
#include <cstdint>
#include <string>
#include <vector>

#include "space/recipe.h"

namespace moebius {

// Factor on the learning rate at step t of n (0-based), a pure function of the budget fraction:
//   "constant_rsqrt"  1 for the first 10 % of the budget, then 1/sqrt(t / t_constant) (Adafactor
//   runs of 2306.00008) "wsd"             linear warm-up over `warmup`, 1, linear to zero over the
//   last `decay` of the budget
// Both take the recipe's warmup; Error(BadInput) for an unknown name.
double schedule(const Recipe& recipe, std::int64_t t, std::int64_t n);
std::vector<std::string> schedule_names();

}  // namespace moebius
