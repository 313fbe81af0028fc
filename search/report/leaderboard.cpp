#include "search/report/leaderboard.h"

#include <algorithm>
#include <cmath>
#include <limits>

namespace moebius {
namespace {

constexpr double kNan = std::numeric_limits<double>::quiet_NaN();

double mean_of(const std::vector<const Trial*>& trials, double (*value)(const Measurement&)) {
  std::vector<double> values;
  for (const Trial* trial : trials)
    if (trial->outcome && std::isfinite(value(trial->outcome->measurement)))
      values.push_back(value(trial->outcome->measurement));
  return summarize(values).mean;
}

double step_seconds(const Measurement& measurement) {
  return measurement.step_seconds > 0 ? measurement.step_seconds : kNan;
}

std::string worst_causal(const std::vector<const Trial*>& trials) {
  static const std::vector<std::string> order = {"", "yes", "drops", "selection"};
  std::size_t worst = 0;
  for (const Trial* trial : trials) {
    const auto found = std::find(order.begin(), order.end(),
                                 trial->outcome ? trial->outcome->measurement.causal : "");
    if (found != order.end())
      worst = std::max(worst, static_cast<std::size_t>(found - order.begin()));
  }
  return order[worst];
}

void assign_ranks(Leaderboard& board) {
  const double reach = std::isfinite(board.noise) ? 2 * board.noise : 0;
  std::size_t leader = 0;
  for (std::size_t i = 0; i < board.rows.size(); ++i) {
    const double behind = board.rows[i].block.loss.mean - board.rows[leader].block.loss.mean;
    if (i > 0 && behind >= reach) leader = i;
    board.rows[i].rank = static_cast<std::int64_t>(leader) + 1;
    if (leader != i) board.rows[i].tied = board.rows[leader].tied = true;
  }
}

std::string name_of(const Standing& standing, const LayerTypes& types) {
  const Trial& first = standing.first();
  return first.label.empty()
             ? fmt::format("{} (trial {})", notation(first.spec, types), first.number)
             : first.label;
}

// The losses that a claim may use: fresh seeds alone.
Summary fresh_loss(const BlockResult& block) {
  std::vector<double> fresh;
  for (const Trial* trial : block.trials)
    if (trial->role == TrialRole::Rerun || trial->role == TrialRole::Noise)
      fresh.push_back(trial->loss());
  return summarize(fresh);
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

Leaderboard leaderboard(const History& history) {
  Leaderboard board;
  const std::vector<BlockResult> blocks = by_block(history);
  board.noise = seed_noise(blocks, board.degrees);
  board.gate_loss = kNan;
  if (const Trial* first = history.find(0))
    if (first->role == TrialRole::Baseline && first->state == TrialState::Done) board.gate = first;
  const double gate_step =
      board.gate != nullptr ? step_seconds(board.gate->outcome->measurement) : kNan;
  for (const BlockResult& block : blocks) {
    Standing standing;
    standing.block = block;
    standing.causal = worst_causal(block.trials);
    standing.step_ratio = mean_of(block.trials, [](const Measurement& m) { return m.step_ratio; });
    if (!std::isfinite(standing.step_ratio))
      standing.step_ratio = mean_of(block.trials, step_seconds) / gate_step;
    if (board.gate != nullptr && block.spec_hash == board.gate->spec_hash)
      board.gate_loss = block.loss.mean;
    board.rows.push_back(std::move(standing));
  }
  assign_ranks(board);
  return board;
}

Table leaderboard_table(const Leaderboard& board, const LayerTypes& types) {
  Table table;
  constexpr auto kData = Column::In::Data;
  table.columns = {{"rank", "rank", Style::Plain, kData},
                   {"tied", "tied", Style::Plain, kData},
                   {"place", "rank", Style::Plain, Column::In::Screen},
                   {"trial", "trial"},
                   {"role", "role"},
                   {"label", "label", Style::Plain, kData},
                   {"block", "block"},
                   {"loss", "loss", Style::Loss},
                   {"sd", "± sd", Style::Loss},
                   {"seeds", "seeds"},
                   {"delta", "Δ gate", Style::Signed},
                   {"causal", "causal"},
                   {"step_ratio", "step", Style::Ratio},
                   {"tokens_per_active_parameter", "tok/param", Style::Ratio},
                   {"active_parameters", "active", Style::Count},
                   {"parameters", "params", Style::Count},
                   {"bits_per_byte", "bits/byte", Style::Loss, kData},
                   {"native_loss", "native", Style::Loss, kData},
                   {"spec_hash", "hash", Style::Plain, kData}};
  for (const Standing& standing : board.rows) {
    const Trial& first = standing.first();
    const std::vector<const Trial*>& trials = standing.block.trials;
    const Measurement& measured = first.outcome->measurement;
    const std::string block = first.label.empty()
                                  ? notation(first.spec, types)
                                  : fmt::format("{}  {}", notation(first.spec, types), first.label);
    table.rows.push_back(
        {standing.rank, standing.tied, (standing.tied ? "=" : "") + std::to_string(standing.rank),
         first.number, role_text(first.role), first.label.empty() ? Json() : Json(first.label),
         block, or_null(standing.block.loss.mean), or_null(standing.block.loss.sd),
         standing.block.loss.n, or_null(standing.block.loss.mean - board.gate_loss),
         standing.causal.empty() ? Json() : Json(standing.causal), or_null(standing.step_ratio),
         or_null(
             mean_of(trials, [](const Measurement& m) { return m.tokens_per_active_parameter; })),
         measured.active_parameters, measured.parameters,
         or_null(mean_of(trials, [](const Measurement& m) { return m.bits_per_byte; })),
         or_null(mean_of(trials, [](const Measurement& m) { return m.native_loss; })),
         first.spec_hash});
  }
  return table;
}

std::string leaderboard_notes(const Leaderboard& board, const std::string& where) {
  std::string text;
  if (std::isfinite(board.noise))
    text += fmt::format(
        "noise {:.4f} nats (sd of one loss over seeds, {} degrees of freedom); "
        "blocks closer than {:.4f} share a rank, marked =\n",
        board.noise, board.degrees, 2 * board.noise);
  else
    text += fmt::format("noise unknown: no block has two seeds; run: moebius noise{}\n", where);
  const auto any = [&](const std::string& mark) {
    return std::any_of(board.rows.begin(), board.rows.end(),
                       [&](const Standing& standing) { return standing.causal == mark; });
  };
  if (any("drops")) text += "causal drops: a later token can displace an earlier one's expert\n";
  if (any("selection"))
    text +=
        "causal selection: trained seeing later tokens; ranked by its causal (threshold) loss\n";
  return text;
}

std::string verdict(const Leaderboard& board, const LayerTypes& types) {
  const auto found = std::find_if(board.rows.begin(), board.rows.end(), [](const Standing& row) {
    return row.first().role != TrialRole::Baseline && row.first().label.empty();
  });
  if (found == board.rows.end()) return "no searched block finished";
  const Summary repeated = fresh_loss(found->block);
  const bool fresh = repeated.n > 0;
  const Summary loss = fresh ? repeated : found->block.loss;
  std::vector<std::string> sentences;
  for (const Standing& row : board.rows)
    if (row.first().role == TrialRole::Baseline)
      sentences.push_back(compare(name_of(*found, types), loss, row.first().label, row.block.loss,
                                  board.noise, fresh));
  std::string text = sentences.empty() ? "no baseline to compare with" : join(sentences, "\n");
  if (repeated.n < 3)
    text += fmt::format(
        "\n{} has {} of the 3 fresh seeds a claim needs: the seed it was chosen by flatters it",
        name_of(*found, types), repeated.n);
  return text;
}

}  // namespace moebius
