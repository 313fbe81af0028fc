#pragma once
#include <string>

namespace moebius {

// What made a block. None: it was given (a baseline, another seed); Random and Enqueued have no
// parent; the others are mutations of one (Space::mutate).
enum class Operator { None, Random, Enqueued, Nudge, Resample, Retype, Move, Swap, Crossover };
std::string operator_text(Operator op);                      // "nudge"; "" for None
bool parse_operator(const std::string& text, Operator& op);  // false: no such operator

}  // namespace moebius
