#pragma once
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "evaluator/evaluator.h"
#include "search/results/results_db.h"
#include "search/study/plugin_options.h"

namespace moebius {

// One search: proposals, gates and results over a database. Thread-safe. A crash at any point loses
// nothing that was told.
//
// Order (DESIGN 5, 6). Numbers 0.. are the baselines, seed by seed; then the blocks given as seeds;
// then proposals. A baseline starts at once, its further seeds after its first. Search trial i
// starts when every baseline and every trial <= i - lag is final, and was proposed from the results
// of exactly the baselines and the search trials <= i - lag, and the specs of all trials < i. So
// (number, spec, loss) do not depend on the number of workers or on who finished first.
class Study {
 public:
  // Creates the study, recording `provenance`, or resumes it: then Error(BadInput) names each
  // difference from how it was made, or that it was made under other rules. Nothing is written when
  // the input is bad. Trials left running by a dead process are released as lost. A `service` is
  // driven by ask, tell and enqueue: trials that it gave out stay running when its process ends.
  Study(StudyConfig config, const StudyPlugins& plugins, ResultsDb& db,
        const Json& provenance = Json::object(), bool service = false);
  ~Study();

  // Measures the first baseline's step time, once per study; budgets in seconds need it.
  void prepare(Evaluator& evaluator);
  struct Asked {
    std::optional<Trial> trial;  // claimed
    bool complete = false;  // without a trial: nothing is left; else running ones must end first
  };
  // The next trial whose turn it is: waiting ones by number, else a new proposal.
  // Error(NoUsableTrial) when the first baseline ended without a loss, Error(BadInput) when no draw
  // satisfies the constraints.
  Asked ask();
  // The candidate of a claimed trial: seed, budget, the baseline to compare with.
  Candidate candidate(const Trial& trial) const;
  // "" or why a search trial is to end at this point of its curve, the one after step `before`: the
  // word of the study's stopper.
  std::string why_pruned(const Trial& trial, const CurvePoint& point, std::int64_t before,
                         std::int64_t steps) const;
  // The steps that a budget in seconds became, and the step ratio measured for it (NaN = none):
  // another attempt trains as many and measures nothing again.
  void planned(const Trial& trial, std::int64_t steps, double step_ratio);
  // Ends the attempt. Ending::Stopped releases it gracefully. Error(NotOwner) when the attempt is
  // not the current one any more.
  void tell(const Trial& trial, const Outcome& outcome);
  // Adds trials by hand (enqueue = Search, Rerun, Noise, Control), `seeds` of each spec: the first
  // of that role that this study has not trained it with (seeds.h). Returns their numbers; an
  // enqueued spec that is known gives the number it has.
  std::vector<std::int64_t> add(const std::vector<Spec>& specs, TrialRole role, std::int64_t parent,
                                std::int64_t seeds);

  // Adds blocks of another study at this one's size, labelled with their names; those that were
  // added before are left out.
  void add_scaled(const std::vector<Baseline>& blocks);

  const StudyConfig& config() const;
  History history() const;  // a copy
  const StudyRow& row() const;
  bool complete() const;

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace moebius
