#include "search/results/statistics.h"

#include <Eigen/Core>
#include <algorithm>
#include <cmath>
#include <iterator>
#include <map>

namespace moebius {

Summary summarize(const std::vector<double>& values) {
  const Eigen::Map<const Eigen::ArrayXd> all(values.data(), std::ssize(values));
  const double nan = std::nan("");
  Summary result{all.size(), nan, nan};
  if (result.n > 0) result.mean = all.mean();
  if (result.n > 1)
    result.sd = std::sqrt((all - result.mean).square().sum() / static_cast<double>(result.n - 1));
  return result;
}

std::vector<BlockResult> by_block(const History& history) {
  std::vector<BlockResult> blocks;
  std::map<std::string, std::size_t> index;
  for (const Trial& trial : history.trials()) {
    if (std::isnan(trial.loss())) continue;
    const auto [found, first] = index.try_emplace(trial.spec_hash, blocks.size());
    if (first) blocks.push_back({trial.spec_hash, trial.label, {}, {}});
    blocks[found->second].trials.push_back(&trial);
  }
  for (BlockResult& block : blocks) {
    std::vector<double> losses;
    for (const Trial* trial : block.trials) losses.push_back(trial->loss());
    block.loss = summarize(losses);
  }
  std::stable_sort(blocks.begin(), blocks.end(), [](const BlockResult& a, const BlockResult& b) {
    return a.loss.mean < b.loss.mean;
  });
  return blocks;
}

double seed_noise(const std::vector<BlockResult>& blocks, std::int64_t& degrees) {
  double squares = 0;
  degrees = 0;
  for (const BlockResult& block : blocks) {
    if (block.loss.n < 2) continue;
    squares += block.loss.sd * block.loss.sd * static_cast<double>(block.loss.n - 1);
    degrees += block.loss.n - 1;
  }
  return degrees == 0 ? std::nan("") : std::sqrt(squares / static_cast<double>(degrees));
}

}  // namespace moebius
