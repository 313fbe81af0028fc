#include "search/report/leaderboard.h"

#include <algorithm>
#include <cmath>
#include <utility>

namespace moebius {
namespace {

void assign_ranks(Leaderboard& board) {
  const double reach = std::isfinite(board.noise.sd) ? 2 * board.noise.sd : 0;
  std::size_t leader = 0;
  for (std::size_t i = 0; i < board.rows.size(); ++i) {
    const double behind = board.rows[i].block.loss.mean - board.rows[leader].block.loss.mean;
    if (i > 0 && behind >= reach) leader = i;
    board.rows[i].rank = static_cast<std::int64_t>(leader) + 1;
    if (leader != i) board.rows[i].tied = board.rows[leader].tied = true;
  }
}

std::string name_of(const BlockResult& block) {
  return block.label.empty() ? fmt::format("{} (trial {})", block.block, block.number)
                             : block.label;
}

std::string compare(const std::string& block, const Summary& found, const std::string& name,
                    const Summary& baseline, double noise, bool fresh) {
  const double gain = baseline.mean - found.mean;
  if (!std::isfinite(noise))
    return fmt::format("{} is {:.4f} nats {} {} (noise unknown)", block, std::abs(gain),
                       gain > 0 ? "below" : "above", name);
  const double error =
      noise * std::sqrt(1.0 / static_cast<double>(found.n) + 1.0 / static_cast<double>(baseline.n));
  if (std::abs(gain) < 2 * error)
    return fmt::format("{} and {} cannot be told apart: {:+.4f} nats (noise {:.4f})", block, name,
                       -gain, noise);
  if (gain > 0 && !fresh)
    return fmt::format("{} looks {:.4f} nats better than {} (noise {:.4f})", block, gain, name,
                       noise);
  if (gain > 0)
    return fmt::format("{} beats {} by {:.4f} nats (noise {:.4f})", block, name, gain, noise);
  return fmt::format("no block beat {}: the best found, {}, is {:.4f} nats behind (noise {:.4f})",
                     name, block, -gain, noise);
}

}  // namespace

Leaderboard leaderboard(const History& history, std::int64_t limit) {
  Ranking ranking = rank_blocks(history, limit);
  Leaderboard board;
  board.best = std::move(ranking.best);
  board.all = ranking.all;
  board.noise = ranking.noise;
  board.baselines = std::move(ranking.baselines);
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
  assign_ranks(board);
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

std::string leaderboard_notes(const Leaderboard& board, const std::string& where) {
  std::string text;
  if (std::isfinite(board.noise.sd))
    text += fmt::format(
        "noise {:.4f} nats (sd of one loss over seeds, {} degrees of freedom); "
        "blocks closer than {:.4f} share a rank\n",
        board.noise.sd, board.noise.degrees, 2 * board.noise.sd);
  else
    text += fmt::format("noise unknown: no block has two seeds; run: moebius noise{}\n", where);
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
  return text;
}

std::string verdict(const Leaderboard& board) {
  if (!board.best) return "no searched block finished";
  const BlockResult& best = *board.best;
  const bool fresh = best.fresh.n > 0;
  std::vector<std::string> sentences;
  for (const BlockResult& baseline : board.baselines)
    sentences.push_back(compare(name_of(best), fresh ? best.fresh : best.loss, baseline.label,
                                baseline.loss, board.noise.sd, fresh));
  std::string text = sentences.empty() ? "no baseline to compare with" : join(sentences, "\n");
  if (best.fresh.n < 3)
    text += fmt::format(
        "\n{} has {} of the 3 fresh seeds a claim needs: the seed it was chosen by flatters it",
        name_of(best), best.fresh.n);
  return text;
}

}  // namespace moebius
