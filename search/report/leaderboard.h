#pragma once
#include <cstdint>
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
  std::string causal;     // the worst over its trials: "yes", "drops", "selection"
  double step_ratio = 0;  // step time over the gate baseline's, mean; NaN when not measured
  const Trial& first() const { return *block.trials.front(); }
};

// Finished blocks, best first. Blocks whose mean is less than twice the noise above the first of
// their group cannot be told apart from it and share its rank. Pointers are into the history.
struct Leaderboard {
  std::vector<Standing> rows;
  double noise = 0;             // seed_noise(); NaN when no block has two seeds
  std::int64_t degrees = 0;     // of freedom behind it
  const Trial* gate = nullptr;  // the gate baseline, where it finished
  double gate_loss = 0;         // mean over its seeds; NaN without
};
Leaderboard leaderboard(const History& history);

Table leaderboard_table(const Leaderboard& board, const LayerTypes& types);
// The lines below the table: the noise, what '=' and the causal marks mean. `where`: the options
// that name the study, " --db r.db --study first".
std::string leaderboard_notes(const Leaderboard& board, const std::string& where);
// An honest sentence about the best block found against each baseline: "no block beat dense-nano:
// ..", "agfa beats glam-nano by 0.0312 nats (noise 0.0061)", or that they cannot be told apart. A
// block that was run again with other seeds is judged by those alone: the seed that it was chosen
// by flatters it.
std::string verdict(const Leaderboard& board, const LayerTypes& types);

}  // namespace moebius
