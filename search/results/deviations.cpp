#include "search/results/deviations.h"

#include <Eigen/Core>
#include <algorithm>
#include <array>
#include <cmath>
#include <functional>
#include <limits>
#include <numbers>
#include <utility>

namespace moebius {
namespace {

using Eigen::Index, Eigen::MatrixXd, Eigen::VectorXd;

// Values of t and their weights: the likelihood, in ten thousandths, of what seven blocks with four
// seeds each showed (deviations from 0.0016 to 0.0855, Bartlett's statistic 32.5).
// bench/statistics_check computes them anew.
constexpr std::array<std::pair<double, double>, 8> kSpreads = {
    {{0.25, 1}, {0.5, 15}, {0.75, 94}, {1, 225}, {1.25, 275}, {1.5, 243}, {1.75, 186}, {2, 126}}};
constexpr double kWidest = kSpreads.back().first;
// A block whose seeds agree to the last digit does not prove a smaller share of the pool's.
constexpr double kLeastShare = 1e-3;
// Weights of (m, t) below which they are left out: of one comparison, and of several together.
constexpr double kLightest = 1e-8, kHeavy = 1e-6;
constexpr double kTiny = 1e-300;

double normal_tail(double z) {
  if (std::abs(z) > 12) return z > 0 ? 0 : 1;
  return 0.5 * std::erfc(z / std::numbers::sqrt2);
}

// The argument at which a falling function of a positive one, near `guess`, is `value`: the secant
// of both logarithms, kept within a bracket.
double solve(const std::function<double(double)>& falling, double value, double guess) {
  const auto excess = [&](double log) {
    return std::log(std::max(falling(std::exp(log)), kTiny) / value);
  };
  constexpr double kFar = 40;
  const double start = std::log(guess);
  double low = start, high = start, above = excess(start), below = above;
  while (below > 0 && high < start + kFar) {
    low = high, above = below;
    below = excess(++high);
  }
  while (above <= 0 && low > start - kFar) {
    high = low, below = above;
    above = excess(--low);
  }
  for (int i = 0; i < 60 && high - low > 1e-6; ++i) {
    // Every third step halves, so that a bent function cannot hold one end for long.
    const double share = i % 3 == 2 ? 0.5 : std::clamp(above / (above - below), 0.02, 0.98);
    const double middle = low + share * (high - low), found = excess(middle);
    if (std::abs(found) < 1e-4) return std::exp(middle);
    (found > 0 ? low : high) = middle;
    (found > 0 ? above : below) = found;
  }
  return std::exp(high);
}

struct Range {
  double lowest = std::numeric_limits<double>::infinity(), highest = 0;
};

}  // namespace

// The grids of log s and of (m, t), and what the study says of the latter.
struct Deviations::Model {
  double pooled;     // deviation over all blocks
  double least;      // deviations below it are taken for it
  Index margin = 0;  // nodes of log s below and above those of m
  Index heavy = 0;   // rows that matter where several comparisons are combined
  VectorXd sd;       // at the nodes
  MatrixXd prior;    // of the nodes, a row for each (m, t)
  VectorXd weight;   // of the rows, falling

  Model(const std::vector<Estimate>& blocks, double pooled_sd, double degrees)
      : pooled(pooled_sd), least(kLeastShare * pooled_sd) {
    Range range;
    for (const Estimate& block : blocks) {
      if (block.degrees == 0) continue;
      range.lowest = std::min(range.lowest, std::max(block.sd, least));
      range.highest = std::max(range.highest, block.sd);
    }
    make_grid(range, degrees);
    for (const Estimate& block : blocks)
      if (block.degrees > 0) weight.array() += (prior * likelihood(block)).array().max(kTiny).log();
    weight = (weight.array() - weight.maxCoeff()).exp().eval();
    weight /= weight.sum();
    keep_heaviest();
  }

  // Leaves the logarithm of the prior of (m, t) in `weight`.
  void make_grid(const Range& range, double degrees) {
    const double step = std::clamp(1 / std::sqrt(degrees), 0.05, 0.5);
    margin = static_cast<Index>(std::ceil(3 * kWidest / step));
    // Above the largest deviation the likelihood of m falls as exp(-degrees * m), below the
    // smallest one faster.
    const double first = std::log(range.lowest) - 3,
                 last = std::log(range.highest) + 2 + 7 / degrees;
    const auto means = static_cast<Index>(std::ceil((last - first) / step)) + 1;
    const auto nodes = VectorXd::LinSpaced(means + 2 * margin, 0, 1).array() *
                       static_cast<double>(means + 2 * margin - 1);
    sd = (first + (nodes - static_cast<double>(margin)) * step).exp();
    prior = MatrixXd::Zero(means * std::ssize(kSpreads), sd.size());
    weight.resize(prior.rows());
    Index row = 0;
    for (const auto& [spread, share] : kSpreads) {
      const Eigen::ArrayXd z = VectorXd::LinSpaced(2 * margin + 1, -1, 1).array() *
                               (static_cast<double>(margin) * step / spread);
      Eigen::RowVectorXd density = (-0.5 * z.square()).exp().matrix().transpose();
      density /= density.sum();
      for (Index m = 0; m < means; ++m, ++row) {
        prior.row(row).segment(m, density.size()) = density;
        weight(row) = std::log(share);
      }
    }
  }

  void keep_heaviest() {
    std::vector<std::pair<double, Index>> order;
    for (Index row = 0; row < weight.size(); ++row)
      if (weight(row) > kLightest) order.emplace_back(-weight(row), row);
    std::sort(order.begin(), order.end());
    MatrixXd kept(std::ssize(order), prior.cols());
    weight.resize(kept.rows());
    for (Index row = 0; row < kept.rows(); ++row) {
      const auto& [negative, from] = order[static_cast<std::size_t>(row)];
      kept.row(row) = prior.row(from);
      weight(row) = -negative;
      heavy += weight(row) > kHeavy;
    }
    prior = std::move(kept);
  }

  VectorXd likelihood(const Estimate& block) const {
    if (block.degrees == 0) return VectorXd::Ones(sd.size());
    const double ratio = std::max(block.sd, least);
    const Eigen::ArrayXd log = -static_cast<double>(block.degrees) *
                               (sd.array().log() + 0.5 * (ratio / sd.array()).square());
    return (log - log.maxCoeff()).exp();
  }

  // Of log s, a row for each (m, t).
  MatrixXd posterior(const Estimate& block) const {
    MatrixXd result = prior * likelihood(block).asDiagonal();
    for (Index row = 0; row < result.rows(); ++row)
      result.row(row) /= std::max(result.row(row).sum(), kTiny);
    return result;
  }

  VectorXd error_of_mean(const Estimate& block) const {
    return sd / std::sqrt(static_cast<double>(block.seeds));
  }
};

// One block against others. The error of its mean is summed over cells of its absolute value: both
// signs are alike.
class Deviations::Comparison {
 public:
  Comparison(const Model& model, const Estimate& first, const std::vector<Estimate>& others)
      : model_(model) {
    make_cells(first);
    for (const Estimate& block : others)
      others_.push_back({model_.posterior(block), {}, model_.error_of_mean(block)});
    for (Other& other : others_)
      other.joint = other.posterior.transpose() * model_.weight.asDiagonal() * mass_;
  }

  // That comparison k is off by `reach` or more.
  double chance(std::size_t k, double reach) const {
    return others_[k].joint.cwiseProduct(beyond(others_[k], reach)).sum();
  }

  // That at least one comparison is off by its reach times `factor`.
  double chance_of_any(const std::vector<double>& reach, double factor) const {
    const Index rows = model_.heavy;
    Eigen::ArrayXXd none = Eigen::ArrayXXd::Ones(rows, mass_.cols());
    for (std::size_t k = 0; k < reach.size(); ++k)
      none *=
          1 - (others_[k].posterior.topRows(rows) * beyond(others_[k], factor * reach[k])).array();
    return model_.weight.head(rows).dot(
        (mass_.topRows(rows).array() * (1 - none)).rowwise().sum().matrix());
  }

 private:
  struct Other {
    MatrixXd posterior;  // of log s
    MatrixXd joint;      // weight of each node together with each cell of the first block
    VectorXd error;      // deviation of the mean, at each node
  };

  void make_cells(const Estimate& first) {
    const VectorXd error = model_.error_of_mean(first);
    const double smallest = error(model_.margin) / 8,
                 largest = 8 * error(error.size() - 1 - model_.margin);
    std::vector<double> edges = {0};
    for (double edge = smallest; edge < largest; edge *= 1.25) edges.push_back(edge);
    edges.push_back(std::numeric_limits<double>::infinity());
    MatrixXd shares(error.size(), std::ssize(edges) - 1);
    middle_.resize(shares.cols());
    for (Index cell = 0; cell < shares.cols(); ++cell) {
      const double low = edges[static_cast<std::size_t>(cell)],
                   high = edges[static_cast<std::size_t>(cell) + 1];
      middle_(cell) = !std::isfinite(high) ? low : low > 0 ? std::sqrt(low * high) : high / 2;
      for (Index node = 0; node < error.size(); ++node)
        shares(node, cell) = 2 * (normal_tail(low / error(node)) - normal_tail(high / error(node)));
    }
    mass_ = model_.posterior(first) * shares;
  }

  // By node and cell: the chance of an error of `reach` or more.
  MatrixXd beyond(const Other& other, double reach) const {
    MatrixXd tails(other.error.size(), middle_.size());
    for (Index cell = 0; cell < tails.cols(); ++cell)
      for (Index node = 0; node < tails.rows(); ++node)
        tails(node, cell) = normal_tail((reach - middle_(cell)) / other.error(node)) +
                            normal_tail((reach + middle_(cell)) / other.error(node));
    return tails;
  }

  const Model& model_;
  VectorXd middle_;  // of each cell
  MatrixXd mass_;    // of each cell, a row for each (m, t)
  std::vector<Other> others_;
};

Deviations::Deviations(const std::vector<Estimate>& blocks) {
  double squares = 0;
  for (const Estimate& block : blocks) {
    if (block.degrees == 0) continue;
    degrees_ += block.degrees;
    squares += block.sd * block.sd * static_cast<double>(block.degrees);
  }
  if (!(squares > 0)) return;
  const auto degrees = static_cast<double>(degrees_);
  model_ = std::make_unique<const Model>(blocks, std::sqrt(squares / degrees), degrees);
}

Deviations::~Deviations() = default;

std::vector<double> Deviations::reaches(const Estimate& first, const std::vector<Estimate>& others,
                                        double error) const {
  constexpr double kInfinite = std::numeric_limits<double>::infinity();
  std::vector<double> result(others.size(), degrees_ == 0 ? kInfinite : 0);
  if (!model_) return result;
  const Comparison comparison(*model_, first, others);
  for (std::size_t k = 0; k < others.size(); ++k)
    result[k] =
        solve([&](double reach) { return comparison.chance(k, reach); }, error, model_->pooled);
  if (others.size() < 2) return result;
  const double factor =
      solve([&](double by) { return comparison.chance_of_any(result, by); }, error, 1.2);
  for (double& reach : result) reach *= factor;
  return result;
}

double Deviations::chance(const Estimate& left, const Estimate& right, double gap) const {
  if (degrees_ == 0) return 1;
  if (!model_) return gap > 0 ? 0 : 1;
  return Comparison(*model_, left, {right}).chance(0, gap);
}

}  // namespace moebius
