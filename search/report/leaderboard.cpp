#include "search/report/leaderboard.h"

#include <algorithm>
#include <cmath>
#include <map>
#include <utility>

namespace moebius {
namespace {

// Below it the grids of Deviations leave too much out: beyond 1000 blocks pairs are not counted.
constexpr double kLeastError = 1e-7;

// Whether two blocks are apart. Where a block has one seed, as most have, the same gap is asked for
// again and again.
class Ranks {
 public:
  Ranks(const Deviations& deviations, std::int64_t blocks) : deviations_(deviations) {
    const double pairs = 0.5 * static_cast<double>(blocks) * static_cast<double>(blocks - 1);
    error_ = std::max(kLeastError, kVerdictError / std::max(1.0, pairs));
  }

  bool apart(const BlockResult& first, const BlockResult& other) {
    if (deviations_.degrees() == 0) return true;
    const Estimate left = first.estimate(first.loss), right = other.estimate(other.loss);
    const double gap = right.mean - left.mean;
    if (right.degrees > 0) return deviations_.chance(left, right, gap) <= error_;
    const auto [known, is_new] = reaches_.try_emplace(left.degrees > 0 ? first.spec_hash : "");
    if (is_new) known->second = deviations_.reaches(left, {right}, error_).front();
    return gap > known->second;
  }

 private:
  const Deviations& deviations_;
  double error_ = 0;
  std::map<std::string, double> reaches_;  // of blocks with one seed, by who is before them
};

void assign_ranks(Leaderboard& board, const Deviations& deviations) {
  Ranks ranks(deviations, board.all);
  std::size_t leader = 0;
  for (std::size_t i = 0; i < board.rows.size(); ++i) {
    if (i > 0 && ranks.apart(board.rows[leader].block, board.rows[i].block)) leader = i;
    board.rows[i].rank = static_cast<std::int64_t>(leader) + 1;
    if (leader != i) board.rows[i].tied = board.rows[leader].tied = true;
  }
}

}  // namespace

Leaderboard leaderboard(const History& history, std::int64_t limit) {
  Ranking ranking = rank_blocks(history, limit);
  const Deviations deviations(ranking.estimates);
  Leaderboard board;
  board.verdict = weigh(ranking, deviations);
  board.best = std::move(ranking.best);
  board.all = ranking.all;
  board.noise = ranking.noise;
  board.baseline_loss = std::nan("");
  double step = std::nan("");
  if (const Trial* first = history.find(0))
    if (first->role == TrialRole::Baseline && first->state == TrialState::Done) {
      board.baseline_loss = block_result(history.of_block(first->spec_hash)).loss.mean;
      if (const double seconds = first->outcome->measurement.step_seconds; seconds > 0)
        step = seconds;
    }
  for (BlockResult& block : ranking.blocks) {
    if (!std::isfinite(block.step_ratio)) block.step_ratio = block.step_seconds / step;
    board.rows.push_back({std::move(block)});
  }
  assign_ranks(board, deviations);
  return board;
}

Table leaderboard_table(const Leaderboard& board) {
  Table table;
  constexpr auto kData = Column::In::Data;
  table.columns = {{"rank"},
                   {"tied", Style::Plain, kData},
                   {"number"},
                   {"role"},
                   {"label"},
                   {"block"},
                   {"loss", Style::Loss},
                   {"sd", Style::Loss},
                   {"seeds"},
                   {"over_baseline", Style::Signed},
                   {"causal"},
                   {"step_ratio", Style::Ratio},
                   {"tokens_per_active_parameter", Style::Ratio},
                   {"active_parameters", Style::Count},
                   {"parameters", Style::Count},
                   {"bits_per_byte", Style::Loss, kData},
                   {"native_loss", Style::Loss, kData},
                   {"gap", Style::Loss, kData},
                   {"step_seconds", Style::Seconds, kData},
                   {"lowest", Style::Loss, kData},
                   {"highest", Style::Loss, kData},
                   {"fresh_seeds", Style::Plain, kData},
                   {"fresh_loss", Style::Loss, kData},
                   {"spec_hash", Style::Plain, kData}};
  const auto text_or_null = [](const std::string& text) {
    return text.empty() ? Json() : Json(text);
  };
  for (const Standing& row : board.rows) {
    const BlockResult& block = row.block;
    table.rows.push_back({row.rank,
                          row.tied,
                          block.number,
                          role_text(block.role),
                          text_or_null(block.label),
                          block.block,
                          or_null(block.loss.mean),
                          or_null(block.loss.sd),
                          block.loss.n,
                          or_null(block.loss.mean - board.baseline_loss),
                          text_or_null(block.causal),
                          or_null(block.step_ratio),
                          or_null(block.tokens_per_active_parameter),
                          block.active_parameters,
                          block.parameters,
                          or_null(block.bits_per_byte),
                          or_null(block.native_loss),
                          or_null(block.native_loss - block.loss.mean),
                          or_null(block.step_seconds),
                          block.lowest,
                          block.highest,
                          block.fresh.n,
                          or_null(block.fresh.mean),
                          block.spec_hash});
  }
  return table;
}

std::string leaderboard_notes(const Leaderboard& board, const StudyWords& study) {
  std::string text;
  if (std::isfinite(board.noise.sd))
    text += fmt::format(
        "noise {:.4f} nats (sd of one loss over seeds, pooled, {} degrees of freedom); blocks that "
        "share a rank cannot be told apart from its first (95 % over all pairs of {} blocks)\n",
        board.noise.sd, board.noise.degrees, board.all);
  else
    text +=
        fmt::format("noise unknown: no block has two seeds; run: moebius noise{}\n", study.where);
  const auto any = [&](const std::string& mark) {
    return std::any_of(board.rows.begin(), board.rows.end(),
                       [&](const Standing& standing) { return standing.block.causal == mark; });
  };
  if (any("drops"))
    text +=
        "causal drops: a later token can displace an earlier one's expert in training; ranked by "
        "its "
        "loss without a limit, where none can\n";
  if (any("selection"))
    text +=
        "causal selection: trained seeing later tokens; ranked by its loss by thresholds, which "
        "sees none\n";
  return text + verdict_text(board.verdict, study) + "\n";
}

}  // namespace moebius
