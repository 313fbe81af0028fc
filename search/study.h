#pragma once
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "evaluator/evaluator.h"
#include "search/results_db.h"
#include "search/sampler.h"

namespace moebius {

struct StudyOptions {
  StudySettings settings;
  std::string sampler = "evolution";
  Budget budget;
  std::int64_t trials = 100;  // search trials wanted
  std::vector<Spec> seeds;    // --seed-from, enqueue: first search trials, in order
  std::int64_t baseline_seeds =
      1;  // how many seeds each baseline gets (the first seed is the gate's)
  double gate_margin = 0.02;
};

// One search: proposals, gates and results over a database. Thread-safe. A crash at any point loses
// nothing that was told.
class Study {
 public:
  // Creates or resumes. Trials left running by a dead process are released as lost.
  Study(StudyOptions options, const Space& space, const LayerTypes& types, ResultsDb& db,
        std::int64_t vocab);
  ~Study();

  // The next trial whose turn it is, claimed: baselines first; nothing while the gate baseline is
  // unfinished or the lag rule makes it wait (then `wait` is true). Empty and not wait: the study
  // is complete.
  std::optional<Trial> ask(bool& wait);
  // The candidate of a claimed trial: seed, budget, gates.
  Candidate candidate(const Trial& trial) const;
  // Ends the attempt. Ending::Stopped releases it gracefully.
  void tell(const Trial& trial, const Outcome& outcome);
  // Adds trials by hand: enqueue, rerun, noise, control, scaled. Returns their numbers.
  std::vector<std::int64_t> add(const std::vector<Spec>& specs, const std::string& role,
                                std::int64_t parent, std::int64_t seeds);

  History history() const;  // a copy
  const StudyRow& row() const;
  bool complete() const;

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace moebius
