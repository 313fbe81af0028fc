#pragma once
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "search/report/table.h"
#include "search/results/statistics.h"

namespace moebius {

// One block of the leaderboard, over all its seeds.
struct Standing {
  BlockResult block;
  std::int64_t rank = 0;  // 1-based; tied blocks share one
  bool tied = false;      // shares its rank
};

// Finished blocks, best first. Blocks whose mean is less than twice the noise above the first of
// their group cannot be told apart from it and share its rank.
struct Leaderboard {
  std::vector<Standing> rows;
  std::optional<BlockResult> best;     // the best one that was searched for, shown or not
  std::int64_t all = 0;                // blocks that have a loss, shown or not
  Noise noise;                         // NaN when no block has two seeds
  std::vector<BlockResult> baselines;  // by number, wherever they rank
  double baseline_loss = 0;            // of the first baseline, over its seeds; NaN without
};
// At most `limit` rows; 0 = all. A limit reads few trials.
Leaderboard leaderboard(const History& history, std::int64_t limit = 0);

Table leaderboard_table(const Leaderboard& board);
// The lines below the table: the noise, what '=' and the causal marks mean. `where`: the options
// that name the study, " --db r.db --study first".
std::string leaderboard_notes(const Leaderboard& board, const std::string& where);
// An honest sentence about the best block found against each baseline: "no block beat dense-nano:
// ..", "agfa beats glam-nano by 0.0312 nats (noise 0.0061)", or that they cannot be told apart. A
// block that was run again with other seeds is judged by those alone: the seed that it was chosen
// by flatters it.
std::string verdict(const Leaderboard& board);

}  // namespace moebius
