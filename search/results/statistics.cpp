#include "search/results/statistics.h"

#include <Eigen/Core>
#include <algorithm>
#include <cmath>
#include <iterator>
#include <set>
#include <utility>

#include "search/results/results_db.h"

namespace moebius {
namespace {

double mean_of(const std::vector<const Trial*>& trials, double Measurement::*value) {
  std::vector<double> values;
  for (const Trial* trial : trials)
    if (const double one = trial->outcome->measurement.*value; std::isfinite(one))
      if (value != &Measurement::step_seconds || one > 0) values.push_back(one);
  return summarize(values).mean;
}

int how_causal(const std::string& word) {
  for (const Causality causality : {Causality::Yes, Causality::Drops, Causality::Selection})
    if (causality_text(causality) == word) return static_cast<int>(causality);
  return -1;
}

}  // namespace

Summary summarize(const std::vector<double>& values) {
  const Eigen::Map<const Eigen::ArrayXd> all(values.data(), std::ssize(values));
  const double nan = std::nan("");
  Summary result{all.size(), nan, nan};
  if (result.n > 0) result.mean = all.mean();
  if (result.n > 1)
    result.sd = std::sqrt((all - result.mean).square().sum() / static_cast<double>(result.n - 1));
  return result;
}

BlockResult block_result(const std::vector<const Trial*>& all) {
  std::vector<const Trial*> trials;
  std::vector<double> losses, fresh;
  for (const Trial* trial : all) {
    if (std::isnan(trial->loss())) continue;
    trials.push_back(trial);
    losses.push_back(trial->loss());
    if (trial->role == TrialRole::Rerun || trial->role == TrialRole::Noise)
      fresh.push_back(trial->loss());
  }
  BlockResult result;
  result.loss = summarize(losses);
  result.fresh = summarize(fresh);
  if (trials.empty()) return result;
  const Trial& first = *trials.front();
  result.number = first.number;
  result.role = first.role;
  result.label = first.label;
  result.block = block_text(first.spec);
  result.spec_hash = first.spec_hash;
  result.lowest = *std::min_element(losses.begin(), losses.end());
  result.highest = *std::max_element(losses.begin(), losses.end());
  for (const Trial* trial : trials) {
    const std::string& causal = trial->outcome->measurement.causal;
    if (how_causal(causal) > how_causal(result.causal)) result.causal = causal;
  }
  result.native_loss = mean_of(trials, &Measurement::native_loss);
  result.bits_per_byte = mean_of(trials, &Measurement::bits_per_byte);
  result.step_seconds = mean_of(trials, &Measurement::step_seconds);
  result.step_ratio = mean_of(trials, &Measurement::step_ratio);
  result.tokens_per_active_parameter = mean_of(trials, &Measurement::tokens_per_active_parameter);
  result.parameters = first.outcome->measurement.parameters;
  result.active_parameters = first.outcome->measurement.active_parameters;
  return result;
}

bool is_better(const BlockResult& left, const BlockResult& right) {
  if (left.loss.mean != right.loss.mean) return left.loss.mean < right.loss.mean;
  return left.number < right.number;
}

namespace {

Noise pooled_noise(const History& history) {
  double squares = 0;
  Noise noise;
  for (const std::string& hash : history.repeated()) {
    const Summary block = block_result(history.of_block(hash)).loss;
    if (block.n < 2) continue;
    squares += block.sd * block.sd * static_cast<double>(block.n - 1);
    noise.degrees += block.n - 1;
  }
  noise.sd =
      noise.degrees == 0 ? std::nan("") : std::sqrt(squares / static_cast<double>(noise.degrees));
  return noise;
}

// A block's mean is no lower than the lowest loss of its trials. So among blocks met in the order
// of their lowest losses the best `limit` are known as soon as as many means are below the next
// loss.
std::vector<BlockResult> best_blocks(const History& history, std::int64_t limit) {
  std::vector<BlockResult> blocks;
  std::set<std::string> met;
  const auto wanted = static_cast<std::size_t>(limit);
  const auto settled = [&](double next) {
    if (limit == 0 || blocks.size() < wanted) return false;
    return std::count_if(blocks.begin(), blocks.end(),
                         [&](const BlockResult& block) { return block.loss.mean < next; }) >= limit;
  };
  for (std::int64_t size = 4 * limit;; size *= 4) {
    const std::vector<const Trial*> trials = history.by_loss(size);
    for (const Trial* trial : trials) {
      if (met.count(trial->spec_hash) > 0) continue;
      if (settled(trial->loss())) break;
      met.insert(trial->spec_hash);
      blocks.push_back(block_result(history.of_block(trial->spec_hash)));
    }
    if (limit == 0 || static_cast<std::int64_t>(trials.size()) < size ||
        settled(trials.back()->loss()))
      break;
  }
  std::sort(blocks.begin(), blocks.end(), is_better);
  if (limit > 0 && blocks.size() > wanted) blocks.resize(wanted);
  return blocks;
}

}  // namespace

Ranking rank_blocks(const History& history, std::int64_t limit) {
  Ranking ranking;
  ranking.noise = pooled_noise(history);
  ranking.all = history.count(TrialState::Done) - ranking.noise.degrees;
  std::set<std::string> met;
  for (const Trial* trial : history.of_role(TrialRole::Baseline))
    if (met.insert(trial->spec_hash).second) {
      BlockResult block = block_result(history.of_block(trial->spec_hash));
      if (block.loss.n > 0) ranking.baselines.push_back(std::move(block));
    }
  // Even if baselines lead, the best block that was searched for is among so many.
  const std::int64_t enough = std::ssize(ranking.baselines) + 1;
  ranking.blocks = best_blocks(history, limit == 0 ? 0 : std::max(limit, enough));
  const auto best = std::find_if(ranking.blocks.begin(), ranking.blocks.end(),
                                 [](const BlockResult& block) { return block.searched(); });
  if (best != ranking.blocks.end()) ranking.best = *best;
  if (limit > 0 && std::ssize(ranking.blocks) > limit)
    ranking.blocks.resize(static_cast<std::size_t>(limit));
  return ranking;
}

}  // namespace moebius
