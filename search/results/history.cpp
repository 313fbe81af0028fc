#include "search/results/history.h"

#include <algorithm>
#include <cmath>

#include "space/base/check.h"

namespace moebius {
namespace {

// Held of a study with a source: the first trials, baselines among them, and the youngest, which
// the lag rule and populations look at.
constexpr std::int64_t kFirst = 64, kYoungest = 1024;

template <class Counts, class Matches>
std::int64_t sum(const Counts& counts, Matches&& matches) {
  std::int64_t result = 0;
  for (const auto& [kind, count] : counts) result += matches(kind) ? count : 0;
  return result;
}

}  // namespace

std::int64_t StudyCounts::of(TrialRole role) const {
  return sum(trials, [&](const auto& kind) { return kind.first == role; });
}

std::int64_t StudyCounts::of(TrialState state) const {
  return sum(trials, [&](const auto& kind) { return kind.second == state; });
}

std::int64_t StudyCounts::all() const {
  return sum(trials, [](const auto&) { return true; });
}

History::History(StudyCounts counts, std::shared_ptr<const TrialSource> source)
    : held_(static_cast<std::size_t>(counts.all())),
      source_(std::move(source)),
      counts_(std::move(counts)) {}

TrialRange History::trials() const& { return TrialRange(this); }
TrialRange History::trials() && { return TrialRange(std::move(*this)); }

const Trial* History::find(std::int64_t number) const {
  if (number < 0 || number >= size()) return nullptr;
  TrialPtr& trial = held_[static_cast<std::size_t>(number)];
  if (!trial) trial = source_->trial(number);
  MOEBIUS_CHECK(trial != nullptr, "[history] trial {} of {} is gone", number, size());
  return trial.get();
}

std::vector<const Trial*> History::found(const std::vector<std::int64_t>& numbers) const {
  std::vector<const Trial*> result;
  for (const std::int64_t number : numbers)
    if (const Trial* trial = find(number)) result.push_back(trial);
  return result;
}

std::vector<const Trial*> History::of_block(const std::string& spec_hash) const {
  if (source_) return found(source_->of_block(spec_hash));
  const auto known = blocks_.find(spec_hash);
  return known == blocks_.end() ? std::vector<const Trial*>() : found(known->second);
}

std::vector<const Trial*> History::of_role(TrialRole role) const {
  if (source_) return found(source_->of_role(role));
  std::vector<const Trial*> result;
  for (const Trial& trial : trials())
    if (trial.role == role) result.push_back(&trial);
  return result;
}

std::vector<const Trial*> History::by_loss(std::int64_t limit) const {
  if (source_) return found(source_->by_loss(limit));
  std::vector<const Trial*> result;
  for (const Trial& trial : trials())
    if (!std::isnan(trial.loss())) result.push_back(&trial);
  std::sort(result.begin(), result.end(),
            [](const Trial* left, const Trial* right) { return ranks_before(*left, *right); });
  if (limit > 0 && static_cast<std::int64_t>(result.size()) > limit)
    result.resize(static_cast<std::size_t>(limit));
  return result;
}

std::vector<std::string> History::repeated() const {
  if (source_) return source_->repeated();
  std::vector<std::string> result;
  for (const auto& [hash, numbers] : blocks_)
    if (numbers.size() > 1) result.push_back(hash);
  return result;
}

bool History::seen(const std::string& spec_hash) const {
  const std::vector<const Trial*> same = of_block(spec_hash);
  return std::any_of(same.begin(), same.end(), [](const Trial* trial) {
    return trial->role == TrialRole::Baseline || trial->role == TrialRole::Search;
  });
}

void History::hold(Trial trial) {
  if (trial.outcome) trial.outcome->curve = {};
  const auto index = static_cast<std::size_t>(trial.number);
  held_[index] = std::make_shared<const Trial>(std::move(trial));
}

void History::add(Trial trial) {
  MOEBIUS_CHECK(trial.number == size(), "[history] trial {} appended after {} trials", trial.number,
                size());
  ++counts_.trials[{trial.role, trial.state}];
  if (!trial.final()) counts_.open.insert(trial.number);
  if (!source_) blocks_[trial.spec_hash].push_back(trial.number);
  held_.emplace_back();
  hold(std::move(trial));
}

void History::trim() {
  if (!source_) return;
  const std::int64_t end = size() - kYoungest;
  for (trimmed_ = std::max(trimmed_, kFirst); trimmed_ < end; ++trimmed_)
    if (open().count(trimmed_) == 0) held_[static_cast<std::size_t>(trimmed_)] = {};
}

void History::update(Trial trial) {
  const Trial* known = find(trial.number);
  MOEBIUS_CHECK(known != nullptr, "[history] no trial {} among {}", trial.number, size());
  --counts_.trials[{known->role, known->state}];
  ++counts_.trials[{trial.role, trial.state}];
  if (trial.final())
    counts_.open.erase(trial.number);
  else
    counts_.open.insert(trial.number);
  hold(std::move(trial));
}

}  // namespace moebius
