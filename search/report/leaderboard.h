#pragma once
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "search/report/table.h"
#include "search/report/verdict.h"

namespace moebius {

// One block of the leaderboard, over all its seeds.
struct Standing {
  BlockResult block;
  std::int64_t rank = 0;  // 1-based; tied blocks share one
  bool tied = false;      // shares its rank
};

// Finished blocks, best first. Those that cannot be told apart from the first of their group share
// its rank: at 95 % over all pairs of blocks, because any of them might have come first.
struct Leaderboard {
  std::vector<Standing> rows;
  std::optional<BlockResult> best;  // the best one that was searched for, shown or not
  std::int64_t all = 0;             // blocks that have a loss, shown or not
  Noise noise;                      // NaN when no block has two seeds
  double baseline_loss = 0;         // of the first baseline, over its seeds; NaN without
  Verdict verdict;
};
// At most `limit` rows; 0 = all. A limit reads few trials.
Leaderboard leaderboard(const History& history, std::int64_t limit = 0);

Table leaderboard_table(const Leaderboard& board);
// The lines below the table: the noise, what ranks and the causal marks mean, the verdict.
std::string leaderboard_notes(const Leaderboard& board, const StudyWords& study);

}  // namespace moebius
