#pragma once
#include <fmt/format.h>

#include <stdexcept>
#include <string>

namespace moebius {

// How the process ends. Scripts rely on the numbers.
enum class Exit : int {
  Done = 0,
  Bug = 1,            // a promise of the program itself was broken
  BadInput = 2,       // nothing was written
  Storage = 3,        // full, read-only, corrupt, locked beyond the limit
  NoUsableTrial = 4,  // finished, but no trial has a loss
  NotOwner = 5,       // another process owns the study
  Requeue = 75,       // checkpointed; run again to go on
};

// The one exception type. what() is the single line a user reads, without the leading "error: ".
// A failed *architecture* is never an Error: it is an Outcome (evaluator/evaluator.h).
class Error : public std::runtime_error {
 public:
  Error(Exit code, const std::string& line) : std::runtime_error(line), code_(code) {}
  Exit code() const { return code_; }

 private:
  Exit code_;
};

// Bad input in the house form: "WHERE: WHAT; allowed: ALLOWED; got: GOT" (empty parts are left
// out). WHERE is FILE:/json/pointer, or the name of an option.
[[noreturn]] inline void bad_input(const std::string& where, const std::string& what,
                                   const std::string& allowed = "", const std::string& got = "") {
  std::string line = where + ": " + what;
  if (!allowed.empty()) line += "; allowed: " + allowed;
  if (!got.empty()) line += "; got: " + got;
  throw Error(Exit::BadInput, line);
}

}  // namespace moebius

// Broken promise of the program: MOEBIUS_CHECK(rows == y.rows, "[matmul] x has {} rows, y {}",
// ...). Tag first, both values, what to do next.
#define MOEBIUS_CHECK(condition, ...)                                                       \
  do {                                                                                      \
    if (!(condition))                                                                       \
      throw ::moebius::Error(::moebius::Exit::Bug,                                          \
                             fmt::format("{} [{}]", fmt::format(__VA_ARGS__), #condition)); \
  } while (false)
