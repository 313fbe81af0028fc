#pragma once
#include <cstdint>
#include <mutex>
#include <utility>
#include <vector>

#include "search/results/store.h"

namespace moebius {

// Keeps the weights of the best five trials of a study, and removes what ended trials leave.
// Thread-safe. The process that owns the study has one.
//
// Invariant: a row of `artifact` that is not gone has its file. A file is there without a row from
// its writing to the end of ended(), and while one is removed; where the process dies in between,
// recover() gives the file its row or removes it. From then on files and rows are those of a study
// that nobody disturbed.
class WeightKeeper {
 public:
  WeightKeeper(ResultsDb& db, const StudyRow& study, StudyFiles files)
      : db_(db), study_(study.id), files_(std::move(files)) {}

  const StudyFiles& files() const { return files_; }
  // Makes the folder, and files and rows agree. Called once, before the first trial starts.
  // Error(Storage).
  void recover(const History& history);
  // Whether a trial that ends with `loss` would be among the best. Asked before its weights are
  // written.
  bool wants(std::int64_t trial, double loss) const;
  // After the commit of a trial's result: its checkpoint goes, its weights get their row or go, and
  // the weights that it pushed out go. Error(Storage).
  void ended(const Trial& trial);

 private:
  using Place = std::pair<double, std::int64_t>;  // loss, trial: the order of ranks_before

  bool ranks(const Place& place) const;
  bool among_best(std::int64_t trial) const;
  void add_row(std::int64_t trial);
  void drop(std::int64_t trial);

  ResultsDb& db_;
  const std::int64_t study_;
  const StudyFiles files_;
  mutable std::mutex mutex_;
  std::vector<Place> best_;  // in order
};

}  // namespace moebius
