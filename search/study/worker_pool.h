#pragma once
#include <cstdint>
#include <string>
#include <vector>

#include "evaluator/evaluator.h"
#include "search/study/study.h"
#include "search/study/weight_keeper.h"

namespace moebius {

// What the pool is doing, for a display. Called from worker threads; must be quick.
class PoolObserver {
 public:
  virtual ~PoolObserver() = default;
  virtual void started(int /*worker*/, const Trial&, std::int64_t /*steps*/) {}
  virtual void point(int /*worker*/, const Trial&, const CurvePoint&, std::int64_t /*of_steps*/) {}
  virtual void ended(int /*worker*/, const Trial&, const Outcome&) {}
};

struct PoolOptions {
  int workers = 1;
  int threads_per_trial = 1;
  // Bytes for all running trials together; 0 = 85 % of what is free at the start.
  std::int64_t memory_limit = 0;
  WeightKeeper* keeper = nullptr;  // of the study's files; null: nothing is kept
};

// Bytes that all running trials together may take: `limit`, or where that is 0, PoolOptions' share
// of what is free now.
std::int64_t trial_memory(std::int64_t limit);

// Runs a study to its end (or until a stop is asked for): one oneTBB arena per trial, never
// starting a trial that does not fit beside the running ones; one that fits nowhere ends as
// out_of_memory with its numbers. Returns true when complete.
bool run_pool(Study& study, Evaluator& evaluator, const PoolOptions& options,
              PoolObserver& observer);

// SIGINT/SIGTERM: the first asks every trial to checkpoint and stop, the second ends the process at
// once (130/143).
void install_stop_signals();
bool stop_requested();
int stop_signal();  // 0 when none

}  // namespace moebius
