#include "search/commands/listing.h"
#include "search/commands/options.h"
#include "search/results/statistics.h"
#include "search/study/stored.h"

namespace moebius {
namespace {

Table studies_table(ResultsDb& db) {
  Table table;
  table.columns = {{"study"},   {"created"}, {"space"},
                   {"budget"},  {"seed"},    {"trials"},
                   {"done"},    {"open"},    {"best_loss", Style::Loss},
                   {"redrawn"}, {"rules"},   {"data"}};
  for (const StudyRow& row : db.studies()) {
    const History history = db.history(row.id);
    const std::optional<BlockResult> best = rank_blocks(history, 1).best;
    const StudySettings& settings = row.settings;
    table.rows.push_back({settings.name, row.created, settings.space.value("name", ""),
                          settings.options.value("budget", ""), settings.seed, history.size(),
                          history.count(TrialState::Done), history.open().size(),
                          best ? or_null(best->loss.mean) : Json(), row.redrawn, rules_of(settings),
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
              const auto results = open_existing(*db, OpenMode::ReadOnly);
              print_table(studies_table(*results), *list);
              if (list->format != "table") return 0;
              for (const StudyRow& row : results->studies()) print_out(rules_note(row.settings));
              return 0;
            };
          }};
}

}  // namespace moebius
