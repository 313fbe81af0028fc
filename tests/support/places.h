#pragma once
#include <cstdlib>
#include <filesystem>
#include <string>

namespace moebius::testing_support {

// A file of the source tree: "tests/evaluator/torch_trainer.py".
inline std::filesystem::path source_file(const std::string& path) {
  return std::filesystem::path(MOEBIUS_SOURCE_DIR) / path;
}

// A file of the data that some tests use and no build needs: below $MOEBIUS_SHARED, or beside the
// source tree. It may be absent, and then the test says that it skips.
inline std::filesystem::path shared_file(const std::string& path) {
  const char* given = std::getenv("MOEBIUS_SHARED");
  return (given ? std::filesystem::path(given) : source_file("../shared")) / path;
}

}  // namespace moebius::testing_support
