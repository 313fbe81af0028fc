#include "search/commands/listing.h"
#include "search/commands/options.h"

namespace moebius {
namespace {

std::vector<Column> columns() {
  using Style::Count, Style::Loss, Style::Plain, Style::Ratio, Style::Seconds;
  constexpr auto kData = Column::In::Data;
  return {{"number", "trial"},
          {"role", "role"},
          {"label", "label"},
          {"state", "state"},
          {"block", "block"},
          {"loss", "loss", Loss},
          {"stopped_loss", "stopped at", Loss},
          {"steps", "steps"},
          {"step_ratio", "step", Ratio},
          {"active_parameters", "active", Count},
          {"causal", "causal"},
          {"parent", "parent"},
          {"operator", "operator"},
          {"seed", "seed"},
          {"attempt", "attempt", Plain, kData},
          {"native_loss", "native", Loss, kData},
          {"bits_per_byte", "bits/byte", Loss, kData},
          {"tokens", "tokens", Count, kData},
          {"flops", "flops", Count, kData},
          {"cpu_seconds", "cpu", Seconds, kData},
          {"wall_seconds", "wall", Seconds, kData},
          {"step_seconds", "step time", Seconds, kData},
          {"parameters", "params", Count, kData},
          {"tokens_per_active_parameter", "tok/param", Ratio, kData},
          {"peak_bytes", "memory", Style::Bytes, kData},
          {"result_hash", "result", Plain, kData},
          {"spec_hash", "hash", Plain, kData},
          {"message", "message"}};
}

Json text_or_null(const std::string& text) { return text.empty() ? Json() : Json(text); }

std::vector<Json> row_of(const Trial& trial) {
  const bool ended = trial.outcome.has_value();
  const Measurement m = ended ? trial.outcome->measurement : Measurement();
  const auto measured = [&](auto value) { return ended ? Json(value) : Json(); };
  return {trial.number,
          role_text(trial.role),
          text_or_null(trial.label),
          state_text(trial.state),
          notation(trial.spec, layer_types()),
          or_null(trial.loss()),
          or_null(m.stopped_loss),
          measured(m.steps),
          or_null(m.step_ratio),
          measured(m.active_parameters),
          text_or_null(m.causal),
          trial.parent < 0 ? Json() : Json(trial.parent),
          text_or_null(operator_text(trial.op)),
          trial.seed,
          trial.attempt,
          or_null(m.native_loss),
          or_null(m.bits_per_byte),
          measured(m.tokens),
          measured(m.flops),
          measured(m.cpu_seconds),
          measured(m.wall_seconds),
          or_null(m.step_seconds),
          measured(m.parameters),
          measured(m.tokens_per_active_parameter),
          measured(m.peak_bytes),
          text_or_null(m.result_hash),
          trial.spec_hash,
          text_or_null(ended ? trial.outcome->message : "")};
}

}  // namespace

Command commands_trials() {
  return {"lists the trials of a study by number", [](Args& args) -> std::function<int()> {
            auto db = std::make_shared<DbOptions>();
            auto list = std::make_shared<ListOptions>();
            args.example("moebius trials --study first");
            args.example("moebius trials --where 'state = done and loss < 2.1' --sort loss -f csv");
            describe(args, *db);
            describe_format(args, *list);
            describe_filters(args, *list);
            return [db, list] {
              const auto results = open_existing(*db, OpenMode::ReadOnly);
              const History history = results->history(pick_study(*results, *db).id);
              Table table{columns(), {}};
              for (const Trial& trial : history.trials()) table.rows.push_back(row_of(trial));
              print_table(std::move(table), *list);
              return 0;
            };
          }};
}

}  // namespace moebius
