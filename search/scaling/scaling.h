#pragma once
#include <cstdint>
#include <string>
#include <vector>

#include "model/catalog.h"
#include "search/results/history.h"
#include "space/scale.h"
#include "space/space.h"

namespace moebius {

struct ScaleRequest {
  std::string to;        // row of the scale table
  std::int64_t top = 5;  // finalists: the search blocks with the lowest mean loss over all seeds
  HeadRule rule = HeadRule::Row;
  // A block keeps its active FLOPs per token over those of the first baseline: hidden widths are
  // solved for it. Without, widths grow as the table's do.
  bool match_flops = false;
  bool baselines = true;   // the space's, at the target's size, for comparison
  Recipe recipe;           // of the study; batch and seq are taken from the target row
  std::int64_t vocab = 0;  // 0 = the target row's V
  std::string backend = "cpu";
};

// A finalist at another size: what `scale --plan` prints and a study of its own trains.
struct ScaledBlock {
  std::int64_t trial = -1;  // number of its first trial at proxy size; -1: a baseline
  std::string name;         // "t12-1b-64e" or "glam-1b-64e"
  double proxy_loss = 0;    // mean over `seeds` seeds; NaN for a baseline that was not trained
  std::int64_t seeds = 0;
  Spec spec;
  Recipe recipe;  // the same for all
  Cost cost;
  // Active FLOPs per token over those of the first baseline: here, and at proxy size. NaN without.
  double flops_ratio = 0, proxy_flops_ratio = 0;
  std::int64_t peak_bytes = 0;       // one replica, from a dry run
  std::int64_t optimizer_bytes = 0;  // of them, what the optimizer keeps
};

// Error(BadInput) when fewer than `top` blocks have a loss, a block is illegal at that size, or
// match_flops has nothing to match or no width that does.
std::vector<ScaledBlock> scaled_blocks(const History& history, const Space& space,
                                       const Catalog& catalog, const ScaleRequest& request);

}  // namespace moebius
