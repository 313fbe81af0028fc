#pragma once
#include <chrono>
#include <cstdint>
#include <map>
#include <mutex>
#include <set>
#include <string>
#include <vector>

#include "search/study/worker_pool.h"

namespace moebius {

// Shows a running study on stderr: on a terminal a block that is redrawn (a line per worker, one
// for the whole), elsewhere a line per ended trial and one every few seconds. Quiet when the log
// is. While it lives, log lines go through it, so that they do not mix with the block.
class ProgressDisplay : public PoolObserver {
 public:
  // `total`: trials of the whole study; those of `history` that are final count as ended.
  ProgressDisplay(const History& history, std::int64_t total, const LayerTypes& types);
  ~ProgressDisplay() override;
  ProgressDisplay(const ProgressDisplay&) = delete;
  ProgressDisplay& operator=(const ProgressDisplay&) = delete;

  void started(int worker, const Trial& trial, std::int64_t steps) override;
  void point(int worker, const Trial& trial, const CurvePoint& point,
             std::int64_t of_steps) override;
  void ended(int worker, const Trial& trial, const Outcome& outcome) override;

 private:
  using Clock = std::chrono::steady_clock;
  struct Running {
    std::int64_t number = 0;
    std::string block;
    std::int64_t step = 0, steps = 0;
    double loss = 0;
  };
  struct Block {
    std::string spec_hash, name;
    double sum = 0;  // of the losses of its seeds
    std::int64_t seeds = 0;
    double mean() const { return sum / static_cast<double>(seeds); }
  };

  static void log_sink(const std::string& line);
  std::string name_of(const Trial& trial) const;
  void count(const Trial& trial, Ending ending, double loss);
  void rank(const Trial& trial, double loss);
  std::string totals() const;
  std::string worker_line(int worker, const Running& running) const;
  std::string ended_line(const Trial& trial, const Outcome& outcome) const;
  void announce_stop();
  void erase();
  void redraw(bool now);
  void say(const std::string& line);  // above the block

  const LayerTypes& types_;
  const bool quiet_, live_;
  const Clock::time_point begin_ = Clock::now();
  const std::int64_t total_;
  std::mutex mutex_;
  std::map<int, Running> running_;
  std::int64_t ended_ = 0, ended_before_ = 0, pruned_ = 0, infeasible_ = 0, failed_ = 0;
  std::set<std::string> baselines_;  // spec hashes
  std::vector<Block> best_;          // the best blocks that were searched for, the first one leads
  std::string baseline_;             // the first baseline and its loss
  std::size_t drawn_ = 0;            // lines of the block on the screen
  Clock::time_point last_ = begin_ - std::chrono::hours(1);
  bool stop_said_ = false;
};

// "#####-----"
std::string bar(double fraction, std::size_t width);

}  // namespace moebius
