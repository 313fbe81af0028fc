#include "search/report/verdict.h"

#include <algorithm>
#include <cmath>
#include <utility>

#include "evaluator/training/budget.h"
#include "space/base/check.h"
#include "space/base/text.h"

namespace moebius {
namespace {

std::string name_of(const BlockResult& block) {
  return block.label.empty() ? fmt::format("{} (trial {})", block.block, block.number)
                             : block.label;
}

std::string equal_cost(const Budget& budget) {
  switch (budget.unit) {
    case Budget::Unit::Steps:
      return "at equal steps";
    case Budget::Unit::Tokens:
      return "at equal tokens";
    case Budget::Unit::Flops:
      return "at equal FLOPs";
    case Budget::Unit::Cpu:
      return "at equal CPU time";
    case Budget::Unit::Wall:
      return "at equal wall time";
    case Budget::Unit::Virtual:
      return fmt::format("at equal predicted time on {}", budget.profile);
  }
  throw Error(Exit::Bug, "[verdict] a budget without a unit");
}

bool is_time(const Budget& budget) {
  return budget.timed() || budget.unit == Budget::Unit::Virtual;
}

// Step time of the first over the second's. Ratios measured beside the first baseline are steadier
// than times measured apart.
double step_ratio(const BlockResult& block, const Contrast& contrast) {
  if (contrast.baseline.number == 0 && std::isfinite(block.step_ratio)) return block.step_ratio;
  return block.step_seconds / contrast.baseline.step_seconds;
}

// What the budget leaves free: "its step takes 1.43x the time and 0.82x the FLOPs per token".
std::string other_measures(const BlockResult& block, const Contrast& contrast,
                           const Budget& budget) {
  const BlockResult& baseline = contrast.baseline;
  std::vector<std::string> parts;
  const auto add = [&](const char* text, double ratio) {
    if (std::isfinite(ratio)) parts.push_back(fmt::format(fmt::runtime(text), ratio));
  };
  add("its step takes {:.2f}x the time", step_ratio(block, contrast));
  const double flops = block.flops_per_token / baseline.flops_per_token;
  if (budget.unit != Budget::Unit::Flops) add("{:.2f}x the FLOPs per token", flops);
  if (!std::isfinite(flops) && block.active_parameters > 0 && baseline.active_parameters > 0)
    add("{:.2f}x the active parameters", static_cast<double>(block.active_parameters) /
                                             static_cast<double>(baseline.active_parameters));
  if (is_time(budget) || budget.unit == Budget::Unit::Flops)
    add("it trained on {:.2f}x the tokens", block.tokens / baseline.tokens);
  return parts.empty() ? "other costs were not measured" : join(parts, ", ");
}

std::string interval(const BlockResult& block, const Contrast& contrast) {
  if (!std::isfinite(contrast.reach)) return "(no interval: no block has two seeds)";
  return fmt::format("[{:.4f}, {:.4f}]", contrast.gain - contrast.reach,
                     contrast.gain + contrast.reach) +
         fmt::format(" (95 % simultaneous, {} seeds against {})",
                     block.unselected().n > 0 ? fmt::format("{} fresh", block.unselected().n)
                                              : fmt::format("{}", block.loss.n),
                     contrast.baseline.loss.n);
}

std::string sentence(const Verdict& verdict, const Contrast& contrast, const Budget& budget) {
  const BlockResult& block = *verdict.subject;
  const std::string name = name_of(block), baseline = name_of(contrast.baseline),
                    gain = fmt::format("{:.4f} nats", std::abs(contrast.gain)),
                    where = interval(block, contrast);
  const char* side = contrast.gain > 0 ? "below" : "above";
  std::string text = equal_cost(budget) + " ";
  if (!std::isfinite(contrast.reach))
    text += fmt::format("{} is {} {} {} {}", name, gain, side, baseline, where);
  else if (!contrast.apart())
    text += fmt::format("{} and {} cannot be told apart: {} {} it {}", name, baseline, gain, side,
                        where);
  else if (contrast.gain < 0 && verdict.leader)
    text += fmt::format("{} is {} behind {} {}", name, gain, baseline, where);
  else if (contrast.gain < 0)
    text += fmt::format("no block beat {}: the best found, {}, is {} behind {}", baseline, name,
                        gain, where);
  else if (!verdict.confirmed || block.diverged > 0)
    text += fmt::format("{} looks {} better than {} {}", name, gain, baseline, where);
  else
    text += fmt::format("{} beats {} by {} {}", name, baseline, gain, where);
  text += "; " + other_measures(block, contrast, budget);
  // A lead at equal tokens that a slower step paid for.
  if (contrast.apart() && contrast.gain > 0 && !is_time(budget) &&
      step_ratio(block, contrast) > 1.02)
    text += ", so that a lead at equal time is not shown";
  return text;
}

std::string noise_command(const std::vector<SeedWish>& wishes, const std::string& where) {
  std::string text = "moebius noise";
  for (const SeedWish& wish : wishes) text += fmt::format(" {}", wish.number);
  return text + where + fmt::format(" --seeds {}", kClaimSeeds);
}

// How the block was chosen, and what that leaves open.
std::string selection(const Verdict& verdict, const StudyWords& study) {
  std::string text;
  const BlockResult& block = *verdict.subject;
  const std::string command = noise_command(lacking_seeds(verdict), study.where);
  if (!verdict.confirmed)
    text += fmt::format(
        "\n{} has {} of the {} fresh seeds a claim needs: it leads {} blocks by a seed that it was "
        "chosen by; run: {}",
        name_of(block), block.unselected().n, kClaimSeeds, verdict.blocks, command);
  if (verdict.candidates > 1)
    text += fmt::format(
        "\n{} is the best of {} blocks with fresh seeds; the intervals allow for that choice",
        name_of(block), verdict.candidates);
  if (verdict.leader)
    text += fmt::format("\n{} has the lowest mean by a seed that it was chosen by; to judge it: {}",
                        name_of(*verdict.leader), command);
  if (block.diverged > 0)
    text += fmt::format("\n{} of the fresh seeds of {} diverged: that is no claim", block.diverged,
                        name_of(block));
  return text;
}

}  // namespace

bool Contrast::apart() const { return std::abs(gain) > reach; }

Verdict weigh(const Ranking& ranking, const Deviations& deviations) {
  Verdict verdict;
  verdict.blocks = ranking.all;
  verdict.candidates = ranking.candidates;
  verdict.confirmed = ranking.confirmed.has_value();
  verdict.subject = verdict.confirmed ? ranking.confirmed : ranking.best;
  if (!verdict.subject) return verdict;
  const BlockResult& subject = *verdict.subject;
  if (ranking.best && ranking.best->spec_hash != subject.spec_hash &&
      ranking.best->unselected().n < kClaimSeeds)
    verdict.leader = ranking.best;
  const Estimate first =
      subject.estimate(subject.unselected().n > 0 ? subject.unselected() : subject.loss);
  std::vector<Estimate> others;
  for (const BlockResult& baseline : ranking.baselines)
    others.push_back(baseline.estimate(baseline.loss));
  const auto families = static_cast<double>(std::max<std::int64_t>(ranking.candidates, 1));
  const std::vector<double> reaches = deviations.reaches(first, others, kVerdictError / families);
  for (std::size_t k = 0; k < others.size(); ++k)
    verdict.contrasts.push_back({ranking.baselines[k], others[k].mean - first.mean, reaches[k]});
  return verdict;
}

std::vector<SeedWish> lacking_seeds(const Verdict& verdict) {
  std::vector<SeedWish> wishes;
  const auto wish = [&](const BlockResult& block, std::int64_t has) {
    if (has < kClaimSeeds) wishes.push_back({block.number, kClaimSeeds - has});
  };
  if (!verdict.subject) return wishes;
  const BlockResult& found = verdict.leader ? *verdict.leader : *verdict.subject;
  wish(found, found.unselected().n);
  for (const Contrast& contrast : verdict.contrasts)
    wish(contrast.baseline, contrast.baseline.loss.n);
  return wishes;
}

std::string verdict_text(const Verdict& verdict, const StudyWords& study) {
  if (!verdict.subject) return "no searched block finished";
  const Budget budget = parse_budget(study.budget);
  std::vector<std::string> sentences;
  for (const Contrast& contrast : verdict.contrasts)
    sentences.push_back(sentence(verdict, contrast, budget));
  const std::string text =
      sentences.empty() ? "no baseline to compare with" : join(sentences, "\n");
  return text + selection(verdict, study);
}

}  // namespace moebius
