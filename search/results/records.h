#pragma once
#include <compare>
#include <cstdint>
#include <string>
#include <vector>

#include "space/base/json.h"

namespace moebius {

// What is fixed when a study is opened; resuming with another value exits 2 naming the first
// differing JSON pointer.
struct StudySettings {
  std::string name;
  Json space;    // document
  Json recipe;   // resolved, overrides applied
  Json options;  // budget, sampler, evaluator, data hash, lag, stopper, baselines: what changes
                 // results
  std::uint64_t seed = 0;
  std::int64_t lag = 4;
  Json provenance;  // version, compiler, machine, command line: recorded, not compared
};

// A file that a trial left behind ("weights").
struct Artifact {
  std::int64_t number = 0;  // of the trial
  std::string kind, path, hash;
};

// What names a trial.
struct TrialKey {
  std::int64_t study = 0;   // StudyRow::id
  std::int64_t number = 0;  // in the study
  auto operator<=>(const TrialKey&) const = default;
};

struct StudyRow {
  std::int64_t id = 0;
  std::string files;  // 32 random hex digits: names the folder of the study's files
  StudySettings settings;
  std::int64_t redrawn = 0;  // statically infeasible draws
  std::string created;       // UTC, ISO 8601
};

struct QueryLimits {
  std::int64_t rows = 0;     // more are left out
  std::int64_t seconds = 5;  // 0 = none
};

struct QueryResult {
  std::vector<std::string> columns;
  std::vector<std::vector<Json>> rows;  // null, integer, double or string
};

}  // namespace moebius
