#include "search/commands/listing.h"
#include "search/commands/options.h"

namespace moebius {
namespace {

Table studies_table(ResultsDb& db) {
  Table table;
  table.columns = {
      {"study", "study"},     {"created", "created"}, {"space", "space"},
      {"budget", "budget"},   {"seed", "seed"},       {"trials", "trials"},
      {"done", "done"},       {"open", "open"},       {"best_loss", "best", Style::Loss},
      {"redrawn", "redrawn"}, {"data", "data"}};
  for (const StudyRow& row : db.studies()) {
    const History history = db.history(row.id);
    std::int64_t done = 0, open = 0;
    Json best;
    for (const Trial& trial : history.trials()) {
      done += trial.state == TrialState::Done;
      open += !trial.final();
      if (trial.role != TrialRole::Baseline && trial.state == TrialState::Done &&
          (best.is_null() || trial.loss() < best.get<double>()))
        best = trial.loss();
    }
    const StudySettings& settings = row.settings;
    table.rows.push_back({settings.name, row.created, settings.space.value("name", ""),
                          settings.options.value("budget", ""), settings.seed,
                          history.trials().size(), done, open, best, row.redrawn,
                          settings.provenance.value("data", "")});
  }
  return table;
}

}  // namespace

Command commands_studies() {
  return {"lists the studies of a database", [](Args& args) -> std::function<int()> {
            auto db = std::make_shared<DbOptions>();
            auto list = std::make_shared<ListOptions>();
            args.example("moebius studies --db runs/moebius.db -f json");
            args.option("--db PATH|URL", db->db, "results database");
            describe_format(args, *list);
            describe_filters(args, *list);
            return [db, list] {
              print_table(studies_table(*open_existing(*db, OpenMode::ReadOnly)), *list);
              return 0;
            };
          }};
}

}  // namespace moebius
