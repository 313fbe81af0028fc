#include "search/commands/progress.h"

#include <unistd.h>

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <iterator>
#include <limits>

#include "search/report/table.h"
#include "search/results/statistics.h"
#include "space/base/log.h"
#include "space/base/units.h"

namespace moebius {
namespace {

constexpr std::chrono::milliseconds kRedraw(200);
constexpr std::chrono::seconds kPlainLine(5);
constexpr std::int64_t kRanked = 64;  // blocks whose means are followed

ProgressDisplay* current = nullptr;  // what log lines go through

void write_error(const std::string& text) { std::fwrite(text.data(), 1, text.size(), stderr); }

}  // namespace

std::string bar(double fraction, std::size_t width) {
  const double clamped = std::clamp(fraction, 0.0, 1.0);
  const auto full = static_cast<std::size_t>(clamped * static_cast<double>(width));
  return std::string(full, '#') + std::string(width - full, '-');
}

ProgressDisplay::ProgressDisplay(const History& history, std::int64_t total,
                                 const LayerTypes& types)
    : types_(types),
      quiet_(log_level() < LogLevel::Info),
      live_(isatty(STDERR_FILENO) != 0),
      total_(total) {
  ended_ = ended_before_ = history.size() - static_cast<std::int64_t>(history.open().size());
  pruned_ = history.count(TrialState::Pruned);
  infeasible_ = history.count(TrialState::Infeasible);
  failed_ = history.count(TrialState::Diverged) + history.count(TrialState::OutOfMemory) +
            history.count(TrialState::Failed);
  if (const Trial* first = history.find(0); first != nullptr && std::isfinite(first->loss()))
    baseline_ = fmt::format("{} {:.4f}", name_of(*first), first->loss());
  for (const Trial* trial : history.of_role(TrialRole::Baseline))
    baselines_.insert(trial->spec_hash);
  for (const BlockResult& block : rank_blocks(history, kRanked).blocks)
    if (block.searched())
      best_.push_back({block.spec_hash, fmt::format("{} (trial {})", block.block, block.number),
                       block.loss.mean * static_cast<double>(block.loss.n), block.loss.n});
  current = this;
  set_log_sink(&ProgressDisplay::log_sink);
}

ProgressDisplay::~ProgressDisplay() {
  set_log_sink(nullptr);  // first: the log locks itself, then us
  const std::lock_guard lock(mutex_);
  current = nullptr;
  erase();
}

void ProgressDisplay::log_sink(const std::string& line) {
  if (current == nullptr) return;
  const std::lock_guard lock(current->mutex_);
  current->say(line);
}

std::string ProgressDisplay::name_of(const Trial& trial) const {
  return trial.label.empty() ? notation(trial.spec, types_) : trial.label;
}

void ProgressDisplay::count(const Trial& trial, Ending ending, double loss) {
  if (ending == Ending::Stopped) return;
  ++ended_;
  if (ending == Ending::Pruned) ++pruned_;
  if (ending == Ending::Infeasible) ++infeasible_;
  failed_ +=
      ending == Ending::Diverged || ending == Ending::OutOfMemory || ending == Ending::Failed;
  if (!std::isfinite(loss)) return;
  if (trial.number == 0) baseline_ = fmt::format("{} {:.4f}", name_of(trial), loss);
  // Also a further seed of a baseline is nothing that was found.
  if (baselines_.count(trial.spec_hash) == 0) rank(trial, loss);
}

void ProgressDisplay::rank(const Trial& trial, double loss) {
  auto block = std::find_if(best_.begin(), best_.end(),
                            [&](const Block& known) { return known.spec_hash == trial.spec_hash; });
  if (block == best_.end()) {
    const std::string name = fmt::format("{} (trial {})", name_of(trial), trial.number);
    block = best_.insert(block, {trial.spec_hash, name});
  }
  block->sum += loss;
  ++block->seeds;
  std::stable_sort(best_.begin(), best_.end(), [](const Block& left, const Block& right) {
    return left.mean() < right.mean();
  });
  if (std::ssize(best_) > kRanked) best_.pop_back();
}

std::string ProgressDisplay::totals() const {
  std::string text = fmt::format("{}/{} trials", ended_, std::max(total_, ended_));
  if (pruned_ > 0) text += fmt::format(", {} pruned", pruned_);
  if (infeasible_ > 0) text += fmt::format(", {} infeasible", infeasible_);
  if (failed_ > 0) text += fmt::format(", {} failed", failed_);
  if (!best_.empty())
    text += fmt::format("; best {:.4f} {}", best_.front().mean(), best_.front().name);
  if (!baseline_.empty()) text += "; " + baseline_;
  const double elapsed = std::chrono::duration<double>(Clock::now() - begin_).count();
  text += "; " + seconds_text(elapsed);
  double done = static_cast<double>(ended_ - ended_before_);
  for (const auto& entry : running_)
    if (entry.second.steps > 0)
      done += static_cast<double>(entry.second.step) / static_cast<double>(entry.second.steps);
  const double left = static_cast<double>(total_ - ended_before_) - done;
  if (done >= 1 && left > 0) text += ", about " + seconds_text(elapsed / done * left) + " left";
  return text;
}

std::string ProgressDisplay::worker_line(int worker, const Running& running) const {
  const double fraction =
      running.steps > 0 ? static_cast<double>(running.step) / static_cast<double>(running.steps)
                        : 0;
  std::string text = fmt::format("  {}: trial {:<4} {:<24} [{}] {}/{}", worker, running.number,
                                 running.block, bar(fraction, 20), running.step, running.steps);
  if (std::isfinite(running.loss)) text += fmt::format("  loss {:.4f}", running.loss);
  return text;
}

std::string ProgressDisplay::ended_line(const Trial& trial, const Outcome& outcome) const {
  const Measurement& measured = outcome.measurement;
  std::string text =
      fmt::format("trial {} {} {}", trial.number, name_of(trial), ending_text(outcome.ending));
  if (outcome.ending == Ending::Done)
    text += fmt::format(" loss {:.4f} ({} steps, {})", measured.loss, measured.steps,
                        seconds_text(measured.wall_seconds));
  else if (!outcome.message.empty())
    text += ": " + printable(outcome.message);
  return text;
}

void ProgressDisplay::announce_stop() {
  if (stop_said_ || !stop_requested()) return;
  stop_said_ = true;
  say("stopping: trials checkpoint and stop; press Ctrl-C again to stop now");
}

void ProgressDisplay::erase() {
  if (drawn_ > 0) write_error(fmt::format("\x1b[{}A\x1b[J", drawn_));
  drawn_ = 0;
}

void ProgressDisplay::redraw(bool now) {
  if (quiet_) return;
  announce_stop();
  const Clock::time_point time = Clock::now();
  if (!live_) {
    if (time - last_ < kPlainLine || (now && ended_ < total_)) return;
    last_ = time;
    return write_error(totals() + "\n");
  }
  if (!now && time - last_ < kRedraw) return;
  last_ = time;
  const std::size_t width = std::max<std::size_t>(terminal_width(STDERR_FILENO, 80), 20) - 1;
  std::string text = drawn_ > 0 ? fmt::format("\x1b[{}A\x1b[J", drawn_) : "";
  for (const auto& [worker, running] : running_)
    text += shortened(worker_line(worker, running), width) + "\n";
  write_error(text + shortened(totals(), width) + "\n");
  drawn_ = running_.size() + 1;
}

void ProgressDisplay::say(const std::string& line) {
  erase();
  write_error(line + "\n");
}

void ProgressDisplay::started(int worker, const Trial& trial, std::int64_t steps) {
  const std::lock_guard lock(mutex_);
  running_[worker] = {trial.number, name_of(trial), 0, steps,
                      std::numeric_limits<double>::quiet_NaN()};
  redraw(live_);
}

void ProgressDisplay::point(int worker, const Trial& trial, const CurvePoint& point,
                            std::int64_t of_steps) {
  const std::lock_guard lock(mutex_);
  Running& running = running_[worker];
  if (running.block.empty()) running.block = name_of(trial);
  running.number = trial.number;
  running.step = point.step;
  running.steps = of_steps;
  running.loss = std::isfinite(point.valid_loss) ? point.valid_loss : point.train_loss;
  redraw(false);
}

void ProgressDisplay::ended(int worker, const Trial& trial, const Outcome& outcome) {
  const std::lock_guard lock(mutex_);
  running_.erase(worker);
  count(trial, outcome.ending, outcome.measurement.loss);
  if (!quiet_ && !live_) say(ended_line(trial, outcome));
  redraw(live_);
}

}  // namespace moebius
