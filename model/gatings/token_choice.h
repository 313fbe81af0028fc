#pragma once
#include <string>

#include "model/gatings/softmax.h"

namespace moebius {

// Tokens choose their `choices` best experts by softmax probability; with a capacity, experts fill
// up in token order, first choices before second ones, and later choices are dropped (papers.md
// 2.3: GShard 2006.16668, Switch 2101.03961); in the causal mode nothing is. `renormalise` divides
// the gates of a token by their sum, before capacity.
GatingPlugin token_choice(const std::string& help, std::int64_t choices, bool renormalise);

}  // namespace moebius
