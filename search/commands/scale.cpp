#include "search/scaling/scaling.h"

#include <algorithm>
#include <cmath>

#include "model/roofline.h"
#include "search/commands/listing.h"
#include "search/commands/session.h"
#include "search/study/stored.h"
#include "search/study/worker_pool.h"
#include "space/base/log.h"
#include "space/base/units.h"

namespace moebius {
namespace {

struct Options {
  DbOptions db;
  DataOptions data;
  ListOptions list;
  std::string to, head_rule = "row", match, budget, name;
  std::int64_t top = 3;
  bool plan = false;
};

const std::vector<std::pair<std::string, HeadRule>> kHeadRules = {
    {"row", HeadRule::Row},
    {"keep", HeadRule::Keep},
    {"scale-heads", HeadRule::ScaleHeads},
    {"scale-head-dim", HeadRule::ScaleHeadDim}};

HeadRule head_rule(const std::string& name) {
  for (const auto& [known, rule] : kHeadRules)
    if (known == name) return rule;
  MOEBIUS_CHECK(false, "[scale] head rule {}", name);
}

std::vector<std::string> head_rules() {
  std::vector<std::string> names;
  for (const auto& entry : kHeadRules) names.push_back(entry.first);
  return names;
}

Recipe recipe_of(const StudyRow& study) {
  return read_recipe(study.settings.recipe, "study " + study.settings.name);
}

// The number of heads of a block's sub-layers: "4", or "2-4".
std::string heads_text(const Spec& spec) {
  std::int64_t least = 0, most = 0;
  for (const SubLayer& sublayer : spec.sublayers)
    for (const Field& field : layer_types().get(sublayer.type).fields) {
      if (field.scaling != Scaling::Heads) continue;
      const std::int64_t heads = integer(sublayer.fields, field.name);
      least = least == 0 ? heads : std::min(least, heads);
      most = std::max(most, heads);
    }
  return least == most ? std::to_string(most) : fmt::format("{}-{}", least, most);
}

// What steps would take at the limits of this machine.
Roofline machine(const Recipe& recipe, const DataOptions& options) {
  const auto backend = builtin_catalog().backends.get(options.backend);
  const Dtype operand = backend.make({.precision = recipe.precision})->operand();
  return measure_roofline(operand, static_cast<int>(options.threads));
}

Table plan_table(const std::vector<ScaledBlock>& blocks, const Roofline& machine,
                 std::int64_t limit) {
  Table table;
  table.columns = {{"name"},
                   {"block"},
                   {"number"},
                   {"proxy_loss", Style::Loss},
                   {"seeds"},
                   {"d_model"},
                   {"attention_heads"},
                   {"parameters", Style::Count},
                   {"active_parameters", Style::Count},
                   {"flops_ratio", Style::Ratio},
                   {"proxy_flops_ratio", Style::Ratio},
                   {"step_tokens", Style::Count},
                   {"step_flops", Style::Count},
                   {"peak_bytes", Style::Bytes},
                   {"step_seconds", Style::Seconds},
                   {"fits"},
                   {"spec_hash", Style::Plain, Column::In::Data}};
  for (const ScaledBlock& block : blocks)
    table.rows.push_back({block.name, notation(block.spec, layer_types()),
                          block.trial < 0 ? Json() : Json(block.trial), or_null(block.proxy_loss),
                          block.seeds, block.spec.d_model, heads_text(block.spec),
                          block.cost.parameters, block.cost.active_parameters,
                          or_null(block.flops_ratio), or_null(block.proxy_flops_ratio),
                          block.cost.tokens, block.cost.step_flops, block.peak_bytes,
                          machine.step_seconds(block.cost, block.optimizer_bytes),
                          block.peak_bytes <= limit, spec_hash(block.spec)});
  return table;
}

// What the columns of the plan mean, and which blocks lose the cost at which they won.
std::string plan_notes(const std::vector<ScaledBlock>& blocks, const Options& options) {
  std::string text = fmt::format(
      "flops_ratio: active FLOPs per token over the first baseline's, at this size and at proxy "
      "size\nstep_seconds: at the measured peak and bandwidth of this machine, {} thread{}; real "
      "steps take longer\n",
      options.data.threads, options.data.threads == 1 ? "" : "s");
  for (const ScaledBlock& block : blocks)
    if (block.trial >= 0 && std::abs(block.flops_ratio / block.proxy_flops_ratio - 1) > 0.1)
      text += fmt::format(
          "{} costs {:.2f} of the first baseline here and {:.2f} where it won; "
          "--match active-flops keeps that\n",
          block.name, block.flops_ratio, block.proxy_flops_ratio);
  return text;
}

int train(const Options& options, const StudyRow& study, const Scale& target,
          std::vector<ScaledBlock> blocks, std::int64_t limit) {
  std::erase_if(blocks, [&](const ScaledBlock& block) {
    if (block.peak_bytes <= limit) return false;
    warn("{} does not fit and is left out: needs {}, limit {}", block.name,
         bytes_text(block.peak_bytes), bytes_text(limit));
    return true;
  });
  if (blocks.empty())
    throw Error(Exit::NoUsableTrial, "nothing fits at " + target.name + "; see --plan");
  const std::string name =
      options.name.empty() ? study.settings.name + "-" + target.name : options.name;
  const std::string budget =
      options.budget.empty() ? study.settings.options.value("budget", "") : options.budget;
  const std::unique_ptr<Session> session =
      Session::scaled(options.db, study, options.data, name, budget, blocks);
  const int code = session->run();
  if (code >= 128) return code;
  const History history = session->study().history();
  session->print(leaderboard(history, 20));
  return code;
}

int run(Options& options) {
  const Scale target = scale(options.to);
  std::vector<ScaledBlock> blocks;
  StudyRow study;
  {
    const auto results = open_existing(options.db, OpenMode::ReadOnly);
    study = pick_study(*results, options.db);
    const Space space =
        Space::read(study.settings.space, "study " + study.settings.name, layer_types());
    if (space.scale().empty())
      bad_input("--study", "its space has no key /scale, the size that blocks are scaled from", "",
                study.settings.name);
    ScaleRequest request;
    request.to = target.name;
    request.top = options.top;
    request.rule = head_rule(options.head_rule);
    request.match_flops = !options.match.empty();
    request.recipe = recipe_of(study);
    if (!options.plan) request.vocab = study.settings.options.value("vocab", std::int64_t{0});
    blocks = scaled_blocks(results->history(study.id), space, builtin_catalog(), request);
  }
  EvaluatorOptions evaluator = evaluator_options(options.data, recipe_of(study));
  const std::int64_t limit = trial_memory(evaluator.memory_limit);
  const Table table = plan_table(blocks, machine(blocks.front().recipe, options.data), limit);
  if (const std::string note = rules_note(study.settings); !note.empty())
    info("the proxy losses: {}", note.substr(0, note.size() - 1));
  if (options.plan) {
    print_table(table, options.list);
    if (options.list.format == "table") print_out(plan_notes(blocks, options));
    return 0;
  }
  info("{}{}", render(table, "table", terminal_width(2, 0)), plan_notes(blocks, options));
  return train(options, study, target, blocks, limit);
}

}  // namespace

Command commands_scale() {
  return {"the best blocks of a study at another size: a plan, or trained in a study of their own",
          [](Args& args) -> std::function<int()> {
            auto options = std::make_shared<Options>();
            args.example("moebius scale --study first --top 3 --to 1B/64E --plan");
            args.example("moebius scale --study first --top 3 --to micro --budget 1Mtok");
            describe(args, options->db);
            args.option("--top K", options->top, 1, 1000, "blocks to scale, the best first");
            args.option("--to SCALE", options->to, "a row of the scale table: micro, 1B/64E, ..");
            args.required("--to");
            args.flag("--plan", options->plan, "only print parameters, memory and step time");
            args.choice("--match", options->match, {"active-flops"},
                        "keep the cost at which a block won: its active FLOPs per token over those "
                        "of the first baseline; default: widths grow as the table's do");
            args.choice("--head-rule", options->head_rule, head_rules(),
                        "of heads and their width: row changes them where the rows' head widths "
                        "differ, so that attention grows with d_model");
            args.option("--budget BUDGET", options->budget, "of each trial; default: the study's");
            args.option("--name NAME", options->name, "of the new study; default: STUDY-SCALE");
            describe_parallel(args, options->data);
            describe_format(args, options->list);
            return [options] { return run(*options); };
          }};
}

}  // namespace moebius
