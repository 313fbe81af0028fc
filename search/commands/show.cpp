#include <type_traits>

#include "search/commands/options.h"
#include "search/report/draw.h"
#include "search/report/leaderboard.h"
#include "search/study/stored.h"
#include "space/base/units.h"

namespace moebius {
namespace {

struct Options {
  DbOptions db;
  std::string trial, format = "table";
};

using Lines = std::vector<std::pair<std::string, std::string>>;

std::string heading(const StudyRow& study, const Trial& trial) {
  std::string text = fmt::format("study {}, trial {}: {}, {}", study.settings.name, trial.number,
                                 role_text(trial.role), state_text(trial.state));
  if (!trial.label.empty()) text += ", " + printable(trial.label);
  return text + fmt::format(", seed {}\n\n", trial.seed);
}

// "12 nudge <- 7 move <- 3 random"
std::string lineage(const History& history, const Trial& trial) {
  std::string text;
  const Trial* at = &trial;
  for (int generation = 0; at != nullptr && generation < 100; ++generation) {
    if (generation > 0) text += " <- ";
    text += std::to_string(at->number);
    if (at->op != Operator::None) text += " " + operator_text(at->op);
    at = at->parent < 0 || at->parent == at->number ? nullptr : history.find(at->parent);
  }
  return text;
}

// What was measured, each field by its name.
Lines measured(const Measurement& measurement) {
  Lines lines;
  for_each_field(measurement, [&](const MeasurementField& field, const auto& value) {
    Json json = value;
    if constexpr (std::is_same_v<decltype(value), const double&>) json = or_null(value);
    if (json.is_null() || json == "") return;
    lines.emplace_back(field.name, cell_text(json, style_of(field.unit)));
  });
  return lines;
}

void print_text(const StudyRow& study, const History& history, const Trial& trial,
                const std::vector<CurvePoint>& curve) {
  const Charset charset = terminal_charset();
  std::string text = heading(study, trial) + draw_block(trial.spec, layer_types(), charset) + "\n";
  Lines lines;
  if (trial.outcome) lines = measured(trial.outcome->measurement);
  if (trial.outcome && !trial.outcome->message.empty())
    lines.emplace_back("message", printable(trial.outcome->message));
  lines.emplace_back("lineage", lineage(history, trial));
  lines.emplace_back("spec_hash", trial.spec_hash);
  for (const auto& [name, value] : lines) text += fmt::format("{:<27} {}\n", name, value);
  if (const std::string plot = draw_curve(curve, 60, 10, charset); !plot.empty())
    text += "\n" + plot;
  print_out(text + rules_note(study.settings));
}

Json curve_json(const std::vector<CurvePoint>& curve) {
  Json result = Json::array();
  for (const CurvePoint& point : curve)
    result.push_back({{"step", point.step},
                      {"train_loss", or_null(point.train_loss)},
                      {"valid_loss", or_null(point.valid_loss)}});
  return result;
}

void print_json(const StudyRow& study, const Trial& trial, const std::vector<CurvePoint>& curve) {
  Json result = {{"study", study.settings.name},
                 {"rules", rules_of(study.settings)},
                 {"number", trial.number},
                 {"role", role_text(trial.role)},
                 {"label", trial.label},
                 {"state", state_text(trial.state)},
                 {"seed", trial.seed},
                 {"parent", trial.parent < 0 ? Json() : Json(trial.parent)},
                 {"operator", operator_text(trial.op)},
                 {"block", notation(trial.spec, layer_types())},
                 {"spec", to_json(trial.spec)},
                 {"spec_hash", trial.spec_hash},
                 {"attempt", trial.attempt},
                 {"curve", curve_json(curve)}};
  result.update(to_json(trial.outcome ? trial.outcome->measurement : Measurement()));
  if (trial.outcome) result["message"] = trial.outcome->message;
  print_out(result.dump(2, ' ', false, Json::error_handler_t::replace) + "\n");
}

int run(Options& options) {
  const auto results = open_existing(options.db, OpenMode::ReadOnly);
  const StudyRow study = pick_study(*results, options.db);
  const History history = results->history(study.id);
  const Trial& trial = pick_trial(history, options.trial);
  const std::vector<CurvePoint> curve = results->read_curve({study.id, trial.number});
  if (options.format == "json")
    print_json(study, trial, curve);
  else {
    print_text(study, history, trial, curve);
    const Leaderboard board = leaderboard(history, 1);
    if (const auto& best = board.verdict.subject; best && best->spec_hash == trial.spec_hash)
      print_out("\n" + verdict_text(board.verdict, study_words(study, options.db)) + "\n");
  }
  return 0;
}

}  // namespace

Command commands_show() {
  return {"one trial: its block drawn, what it measured, its curve and where it came from",
          [](Args& args) -> std::function<int()> {
            auto options = std::make_shared<Options>();
            args.example("moebius show 12 --study first");
            args.positional("TRIAL", options->trial, true, "its number");
            describe(args, options->db);
            args.choice("-f,--format", options->format, {"table", "json"}, "how to print");
            return [options] { return run(*options); };
          }};
}

}  // namespace moebius
