#include "search/results/statistics.h"

#include <Eigen/Core>
#include <algorithm>
#include <cmath>
#include <concepts>
#include <iterator>
#include <set>
#include <utility>

#include "search/results/results_db.h"

namespace moebius {
namespace {

template <class Value>
requires std::invocable<Value, const Measurement&>
double mean_of(const std::vector<const Trial*>& trials, Value&& value) {
  std::vector<double> values;
  for (const Trial* trial : trials)
    if (const double one = value(trial->outcome->measurement); std::isfinite(one))
      values.push_back(one);
  return summarize(values).mean;
}

double mean_of(const std::vector<const Trial*>& trials, double Measurement::*value) {
  return mean_of(trials, [value](const Measurement& measured) { return measured.*value; });
}

// Of a count or a time, where 0 means that nobody measured it.
double or_nan(double value) { return value > 0 ? value : std::nan(""); }

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
  std::int64_t diverged = 0;
  for (const Trial* trial : all) {
    const bool is_fresh = trial->role == TrialRole::Rerun || trial->role == TrialRole::Noise;
    if (std::isnan(trial->loss())) {
      diverged += is_fresh && trial->state == TrialState::Diverged;
      continue;
    }
    trials.push_back(trial);
    losses.push_back(trial->loss());
    if (is_fresh) fresh.push_back(trial->loss());
  }
  BlockResult result;
  result.diverged = diverged;
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
  result.step_seconds =
      mean_of(trials, [](const Measurement& measured) { return or_nan(measured.step_seconds); });
  result.tokens = mean_of(trials, [](const Measurement& measured) {
    return or_nan(static_cast<double>(measured.tokens));
  });
  result.flops_per_token = mean_of(trials, [](const Measurement& measured) {
    return or_nan(measured.flops) / or_nan(static_cast<double>(measured.tokens));
  });
  result.step_ratio = mean_of(trials, &Measurement::step_ratio);
  result.tokens_per_active_parameter = mean_of(trials, &Measurement::tokens_per_active_parameter);
  result.parameters = first.outcome->measurement.parameters;
  result.active_parameters = first.outcome->measurement.active_parameters;
  return result;
}

Estimate BlockResult::estimate(const Summary& mean) const {
  const std::int64_t degrees = std::max<std::int64_t>(loss.n - 1, 0);
  return {mean.mean, mean.n, degrees > 0 ? loss.sd : 0, degrees};
}

bool is_better(const BlockResult& left, const BlockResult& right) {
  if (left.loss.mean != right.loss.mean) return left.loss.mean < right.loss.mean;
  return left.number < right.number;
}

namespace {

// All that blocks with several seeds say: the noise, and who may be claimed to be better.
void look_at_repeated(const History& history, Ranking& ranking) {
  double squares = 0;
  for (const std::string& hash : history.repeated()) {
    BlockResult block = block_result(history.of_block(hash));
    if (block.loss.n < 2) continue;
    ranking.estimates.push_back(block.estimate(block.loss));
    squares += block.loss.sd * block.loss.sd * static_cast<double>(block.loss.n - 1);
    ranking.noise.degrees += block.loss.n - 1;
    if (!block.searched() || block.unselected().n < kClaimSeeds) continue;
    ++ranking.candidates;
    const auto place = [](const BlockResult& one) {
      return std::pair(one.unselected().mean, one.number);
    };
    if (!ranking.confirmed || place(block) < place(*ranking.confirmed))
      ranking.confirmed = std::move(block);
  }
  ranking.noise.sd = ranking.noise.degrees == 0
                         ? std::nan("")
                         : std::sqrt(squares / static_cast<double>(ranking.noise.degrees));
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
      // Beside a running search a trial that was read while it ran has ended by now, and is held
      // without the loss that it is listed for.
      if (BlockResult block = block_result(history.of_block(trial->spec_hash)); block.loss.n > 0)
        blocks.push_back(std::move(block));
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
  look_at_repeated(history, ranking);
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
