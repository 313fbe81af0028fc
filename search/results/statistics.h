#pragma once
#include <cstdint>
#include <string>
#include <vector>

#include "search/results/history.h"

namespace moebius {

struct Summary {
  std::int64_t n = 0;
  double mean = 0;  // NaN when n = 0
  double sd = 0;    // of one value, n - 1 in the denominator; NaN when n < 2
};
Summary summarize(const std::vector<double>& values);

// One block over all its seeds: what finalists are chosen by.
struct BlockResult {
  std::string spec_hash, label;      // label: of the first trial
  std::vector<const Trial*> trials;  // with a loss, by number
  Summary loss;
};
// Blocks that have a loss, the lowest mean first; the first trial's number breaks ties. Pointers
// are into `history`.
std::vector<BlockResult> by_block(const History& history);

// The noise floor: standard deviation of one loss over seeds of one block, pooled over all blocks
// with at least two seeds. NaN when there is none; `degrees` = seeds - blocks behind it.
double seed_noise(const std::vector<BlockResult>& blocks, std::int64_t& degrees);

}  // namespace moebius
