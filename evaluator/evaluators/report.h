#pragma once
#include <cstdint>
#include <string>

#include "space/base/json.h"

namespace moebius {

// One line of an external trainer's output (the `command` evaluator), a JSON object:
//   {"steps": N}                         how many steps it will make, where the budget does not say
//   {"step": n, "loss": x}               a point of the curve, rising n; loss on held-out text;
//                                        optional train_loss, seconds
//   {"final": true, "loss": x}           the result; optional steps, tokens, step_seconds,
//                                        native_loss, bits_per_byte, parameters, peak_bytes
//   {"final": true, "ending": "diverged"|"infeasible"|"out_of_memory"|"failed", "message": ".."}
struct Report {
  enum class Kind { Steps, Point, Final, NotFinite, Bad } kind = Kind::Bad;
  std::string why;  // Bad: what is wrong with it
  Json json;
};
Report read_report(const std::string& line);

// A number of a report, or the fallback where it is absent, of another kind or (count) out of
// range.
double number_or(const Json& json, const char* key, double fallback);
std::int64_t count_or(const Json& json, const char* key, std::int64_t fallback);

}  // namespace moebius
