#pragma once
#include <cstdint>
#include <memory>
#include <vector>

namespace moebius {

// The error of all comparisons of a verdict together, which is printed as 95 %. The rest is room
// for blocks that scatter more unequally than those the model was made for.
inline constexpr double kVerdictError = 0.045;

// What is known of one block's loss.
struct Estimate {
  double mean = 0;
  std::int64_t seeds = 0;    // that the mean is over, at least 1
  double sd = 0;             // of one loss; not read without degrees
  std::int64_t degrees = 0;  // behind `sd`
};

// How far the losses of a study scatter over seeds, and which blocks that leaves apart.
//
// Model: a loss of block i is normal with a mean and a deviation s_i of its own, and log s_i is
// normal over blocks with mean m and spread t. Means and m have flat priors (the right Haar ones,
// so that units do not matter). t has a few values, weighted by how well they explain the
// deviations measured on seven blocks of brainformer-nano (bench/results/statistics.md). A block's
// few seeds are so shrunk towards the pool, as with moderated variances (Smyth 2004), but m and t
// are integrated over instead of estimated, because a study has few blocks with several seeds.
// Averaged over such blocks the intervals hold as often as they say for any number of seeds. They
// are sums over fixed grids, without sampling: equal losses give equal intervals.
class Deviations {
 public:
  // `blocks`: those of the study; without degrees they tell nothing.
  explicit Deviations(const std::vector<Estimate>& blocks);
  ~Deviations();

  // In all. Without any nothing can be told apart and every reach is infinite.
  std::int64_t degrees() const { return degrees_; }
  // Half the widths of intervals of first.mean - others[k].mean that hold all at once with
  // probability 1 - error (Dunnett 1955: the comparisons share `first`). Each is the interval of
  // its own comparison, wider by one factor for all.
  std::vector<double> reaches(const Estimate& first, const std::vector<Estimate>& others,
                              double error) const;
  // The probability that two blocks of equal true means are `gap` or more apart.
  double chance(const Estimate& left, const Estimate& right, double gap) const;

 private:
  struct Model;
  class Comparison;

  std::int64_t degrees_ = 0;
  std::unique_ptr<const Model> model_;  // null: no degrees, or nothing scatters
};

}  // namespace moebius
