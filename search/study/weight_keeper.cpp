#include "search/study/weight_keeper.h"

#include <algorithm>
#include <charconv>
#include <cmath>
#include <filesystem>
#include <string>
#include <system_error>

namespace moebius {
namespace {

namespace fs = std::filesystem;
constexpr std::size_t kKept = 5;

void remove(const std::string& path) {
  std::error_code ignored;  // most files were never there
  fs::remove(path, ignored);
}

// The trial of a file that StudyFiles names, and what follows its number: ".resume",
// ".safetensors", or one of these with the ".tmp.PID" of a write that did not end. {-1, ""} for
// other files.
std::pair<std::int64_t, std::string> parse(const std::string& name) {
  std::int64_t trial = -1;
  if (!name.starts_with('t')) return {-1, ""};
  const auto [rest, error] = std::from_chars(name.data() + 1, name.data() + name.size(), trial);
  const std::string suffix(rest, name.data() + name.size());
  const bool ours = suffix.starts_with(".resume") || suffix.starts_with(".safetensors");
  return error == std::errc() && ours ? std::pair(trial, suffix) : std::pair(std::int64_t{-1}, "");
}

}  // namespace

bool WeightKeeper::ranks(const Place& place) const {
  return std::isfinite(place.first) && (best_.size() < kKept || place < best_.back());
}

bool WeightKeeper::among_best(std::int64_t trial) const {
  return std::any_of(best_.begin(), best_.end(),
                     [&](const Place& place) { return place.second == trial; });
}

void WeightKeeper::add_row(std::int64_t trial) {
  const std::string path = files_.weights(trial);
  db_.artifact({study_, trial}, "weights", files_.stored(path), file_hash(path));
}

// The row first: a reader never finds one whose file is gone.
void WeightKeeper::drop(std::int64_t trial) {
  db_.artifact_gone({study_, trial}, "weights");
  remove(files_.weights(trial));
}

void WeightKeeper::recover(const History& history) {
  const std::lock_guard lock(mutex_);
  files_.create();
  best_.clear();
  for (const Trial* trial : history.by_loss(kKept))
    best_.emplace_back(trial->loss(), trial->number);
  std::sort(best_.begin(), best_.end());

  std::error_code error;
  for (const auto& entry : fs::directory_iterator(files_.folder(), error)) {
    const auto [number, suffix] = parse(entry.path().filename());
    const Trial* trial = history.find(number);
    const bool resumes = suffix == ".resume" && trial && !trial->final();
    if (number >= 0 && !resumes && !(suffix == ".safetensors" && among_best(number)))
      remove(entry.path());
  }
  if (error) throw Error(Exit::Storage, files_.folder() + ": " + error.message());

  std::vector<std::int64_t> rows;
  for (const Artifact& artifact : db_.artifacts(study_)) {
    if (artifact.kind != "weights") continue;
    if (!among_best(artifact.number) || files_.find(artifact).empty())
      drop(artifact.number);
    else
      rows.push_back(artifact.number);
  }
  for (const Place& place : best_)
    if (std::find(rows.begin(), rows.end(), place.second) == rows.end() &&
        fs::exists(files_.weights(place.second), error))
      add_row(place.second);
}

bool WeightKeeper::wants(std::int64_t trial, double loss) const {
  const std::lock_guard lock(mutex_);
  return ranks({loss, trial});
}

void WeightKeeper::ended(const Trial& trial) {
  const std::lock_guard lock(mutex_);
  const Place place(trial.loss(), trial.number);
  const std::string weights = files_.weights(trial.number);
  remove(files_.checkpoint(trial.number));
  if (!ranks(place)) return remove(weights);
  best_.insert(std::upper_bound(best_.begin(), best_.end(), place), place);
  std::error_code error;  // an evaluator need not write weights
  if (fs::exists(weights, error)) add_row(trial.number);
  if (best_.size() <= kKept) return;
  const std::int64_t worst = best_.back().second;
  best_.pop_back();
  drop(worst);
}

}  // namespace moebius
