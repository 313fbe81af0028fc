#include "search/study/worker_pool.h"

#include <oneapi/tbb/global_control.h>
#include <oneapi/tbb/task_arena.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <condition_variable>
#include <csignal>
#include <exception>
#include <mutex>
#include <new>
#include <optional>
#include <thread>
#include <utility>

#include "space/base/memory.h"
#include "space/base/units.h"

namespace moebius {
namespace {

constexpr double kMemoryShare = 0.85;                  // of what is free at the start
constexpr auto kPoll = std::chrono::milliseconds(50);  // a signal cannot wake a condition variable

volatile std::sig_atomic_t signal_seen = 0;

void on_signal(int signal) {
  if (signal_seen != 0) _exit(128 + signal);
  signal_seen = signal;
}

// Bytes given to running trials. Trials are admitted in the order in which they came, so that small
// ones cannot starve a large one.
class MemoryGate {
 public:
  explicit MemoryGate(std::int64_t limit) : limit_(limit) {}
  std::int64_t limit() const { return limit_; }

  // Waits for room; false when `stop` became true first. The caller fits alone: bytes <= limit().
  template <class Stop>
  bool enter(std::int64_t bytes, Stop&& stop) {
    std::unique_lock lock(mutex_);
    const std::uint64_t ticket = last_ticket_++;
    const auto my_turn = [&] { return ticket == serving_ && used_ + bytes <= limit_; };
    while (!my_turn() && !stop()) changed_.wait_for(lock, kPoll);
    if (!my_turn()) return false;  // the pool ends: nobody after this one is admitted either
    ++serving_;
    used_ += bytes;
    changed_.notify_all();
    return true;
  }
  void leave(std::int64_t bytes) {
    const std::lock_guard lock(mutex_);
    used_ -= bytes;
    changed_.notify_all();
  }

 private:
  const std::int64_t limit_;
  std::mutex mutex_;
  std::condition_variable changed_;
  std::int64_t used_ = 0;
  std::uint64_t last_ticket_ = 0, serving_ = 0;
};

Outcome ended(Ending ending, const std::string& message) {
  Outcome outcome;
  outcome.ending = ending;
  outcome.message = message;
  return outcome;
}

class Pool {
 public:
  Pool(Study& study, Evaluator& evaluator, const PoolOptions& options, PoolObserver& observer)
      : study_(study),
        evaluator_(evaluator),
        options_(options),
        observer_(observer),
        memory_(trial_memory(options.memory_limit)) {}

  void run() {
    if (options_.keeper != nullptr) options_.keeper->recover(study_.history());
    study_.prepare(evaluator_);
    // oneTBB counts the calling threads too; without this limit raised, an arena gets one thread.
    const auto threads =
        static_cast<std::size_t>(options_.workers * options_.threads_per_trial + 1);
    const tbb::global_control parallelism(tbb::global_control::max_allowed_parallelism, threads);
    {
      std::vector<std::jthread> workers;
      for (int i = 0; i < options_.workers; ++i) workers.emplace_back([this, i] { work(i); });
    }
    if (failure_) std::rethrow_exception(failure_);
  }

 private:
  // Hands the evaluation's talk on and tells it to stop.
  class Talk : public Observer {
   public:
    Talk(Pool& pool, int worker, const Trial& trial)
        : pool_(pool), worker_(worker), trial_(trial) {}
    void planned(const StepPlan& plan) override {
      last_step_ = plan.done;
      pool_.study_.planned(trial_, plan.steps, plan.step_ratio);
      pool_.observer_.started(worker_, trial_, plan.steps);
    }
    std::string point(const CurvePoint& point, std::int64_t of_steps) override {
      pool_.observer_.point(worker_, trial_, point, of_steps);
      const std::int64_t before = std::exchange(last_step_, point.step);
      return pool_.study_.why_pruned(trial_, point, before, of_steps);
    }
    bool wants_weights(double loss) override {
      const WeightKeeper* keeper = pool_.options_.keeper;
      return keeper != nullptr && keeper->wants(trial_.number, loss);
    }
    bool stop() override { return pool_.stopping(); }

   private:
    Pool& pool_;
    const int worker_;
    const Trial& trial_;
    std::int64_t last_step_ = 0;  // of the point before
  };

  bool stopping() const { return stop_requested() || broken_.load(); }

  void work(int worker) {
    try {
      tbb::task_arena arena(options_.threads_per_trial);
      while (const std::optional<Trial> trial = next()) {
        arena.execute([&] { run_trial(worker, *trial); });
        changed_.notify_all();
      }
    } catch (...) {
      const std::lock_guard lock(mutex_);
      if (!failure_) failure_ = std::current_exception();
      broken_ = true;
    }
    changed_.notify_all();
  }

  // The next trial, claimed; nothing when the study is complete or the pool stops.
  std::optional<Trial> next() {
    std::unique_lock lock(mutex_);
    while (!stopping()) {
      Study::Asked asked = study_.ask();
      if (asked.trial) {
        ++running_;
        return std::move(asked.trial);
      }
      if (asked.complete) return {};
      MOEBIUS_CHECK(running_ > 0, "[worker_pool] every trial waits and none is running");
      changed_.wait_for(lock, kPoll);
    }
    return {};
  }

  void run_trial(int worker, const Trial& trial) {
    const Outcome outcome = judge_or_release(worker, trial);
    study_.tell(trial, outcome);  // from here on it is stored: only now is anybody told
    if (outcome.ending != Ending::Stopped && options_.keeper != nullptr) {
      Trial stored = trial;
      stored.outcome = storable(outcome);
      stored.state = final_state(stored.outcome->ending);
      options_.keeper->ended(stored);
    }
    {
      const std::lock_guard lock(mutex_);
      --running_;
    }
    observer_.ended(worker, trial, outcome);
  }

  // A bug of the program says nothing about the block: the trial goes back to the waiting ones, and
  // the error ends the pool.
  Outcome judge_or_release(int worker, const Trial& trial) {
    std::string bug;
    try {
      return judge(worker, trial);
    } catch (const Error& error) {
      if (error.code() != Exit::Bug) throw;
      bug = error.what();
    } catch (const std::exception& error) {
      bug = error.what();
    }
    study_.tell(trial, ended(Ending::Stopped, ""));
    throw Error(Exit::Bug, fmt::format("trial {}: {}", trial.number, bug));
  }

  // An architecture's failure is an outcome. Trouble with the store or its ownership, and bugs,
  // leave as exceptions.
  Outcome judge(int worker, const Trial& trial) {
    try {
      const Candidate candidate = candidate_of(trial);
      Prepared prepared = evaluator_.prepare(candidate);
      const std::int64_t bytes = prepared.peak_bytes;
      if (bytes > memory_.limit()) {
        prepared.ending = Ending::OutOfMemory;
        prepared.message =
            fmt::format("needs {}; limit {}", bytes_text(bytes), bytes_text(memory_.limit()));
      }
      if (prepared.ending) return refused(prepared);
      if (!memory_.enter(bytes, [this] { return stopping(); })) return ended(Ending::Stopped, "");
      const Room room{memory_, bytes};
      Talk talk(*this, worker, trial);
      return evaluator_.evaluate(candidate, prepared, talk);
    } catch (const std::bad_alloc&) {
      return ended(Ending::OutOfMemory, "an allocation was refused");
    } catch (const Error& error) {
      if (error.code() == Exit::NotOwner || error.code() == Exit::Bug) throw;
      if (error.code() == Exit::Storage)
        throw Error(Exit::Storage, fmt::format("{}; mend that (free space on a full disk) and run "
                                               "the same command again",
                                               error.what()));
      return ended(Ending::Failed, error.what());
    }
  }

  struct Room {
    MemoryGate& memory;
    std::int64_t bytes;
    ~Room() { memory.leave(bytes); }
  };

  Candidate candidate_of(const Trial& trial) const {
    Candidate candidate = study_.candidate(trial);
    if (options_.keeper != nullptr) {
      const StudyFiles& files = options_.keeper->files();
      candidate.checkpoint = files.checkpoint(trial.number);
      candidate.keep_weights = files.weights(trial.number);
      candidate.directory = files.folder();
    }
    return candidate;
  }

  Study& study_;
  Evaluator& evaluator_;
  const PoolOptions options_;
  PoolObserver& observer_;
  MemoryGate memory_;
  std::mutex mutex_;
  std::condition_variable changed_;
  int running_ = 0;
  std::atomic<bool> broken_{false};  // a worker ended with `failure_`
  std::exception_ptr failure_;
};

}  // namespace

std::int64_t trial_memory(std::int64_t limit) {
  return limit > 0 ? limit
                   : static_cast<std::int64_t>(kMemoryShare * static_cast<double>(free_memory()));
}

bool run_pool(Study& study, Evaluator& evaluator, const PoolOptions& options,
              PoolObserver& observer) {
  const std::int64_t lag = study.row().settings.lag;
  if (options.workers < 1 || options.workers > lag)
    bad_input("--workers", "more trials at once than the lag rule allows; raise --lag",
              fmt::format("1..{}", lag), std::to_string(options.workers));
  if (options.threads_per_trial < 1)
    bad_input("--threads", "out of range", "1 or more", std::to_string(options.threads_per_trial));
  Pool(study, evaluator, options, observer).run();
  return study.complete();
}

void install_stop_signals() {
  struct sigaction action {};
  action.sa_handler = on_signal;
  sigemptyset(&action.sa_mask);
  action.sa_flags = SA_RESTART;
  sigaction(SIGINT, &action, nullptr);
  sigaction(SIGTERM, &action, nullptr);
}

bool stop_requested() { return signal_seen != 0; }
int stop_signal() { return signal_seen; }

}  // namespace moebius
