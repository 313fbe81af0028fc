#include <limits>
#include <set>

#include "search/commands/listing.h"
#include "search/commands/options.h"

namespace moebius {
namespace {

// The columns of the view `trials`. A screen has room for a few.
std::vector<Column> columns_of(ResultsDb& db) {
  static const std::set<std::string> screen = {
      "number", "role",         "label",    "state",      "block",
      "loss",   "stopped_loss", "steps",    "step_ratio", "active_parameters",
      "causal", "parent",       "operator", "seed",       "message"};
  std::vector<Column> columns;
  for (const std::string& name : db.query("SELECT * FROM trials LIMIT 0", {}, {}).columns) {
    Column column{name};
    for_each_field(Measurement(), [&](const MeasurementField& field, const auto&) {
      if (name == field.name) column.style = style_of(field.unit);
    });
    if (screen.count(name) == 0) column.in = Column::In::Data;
    columns.push_back(column);
  }
  return columns;
}

int run(DbOptions& options, ListOptions list) {
  const auto results = open_existing(options, OpenMode::ReadOnly);
  const StudyRow study = pick_study(*results, options);
  Table table{columns_of(*results), {}};
  SqlFilter filter = sql_filter(table.columns, list, "number");
  filter.bound.insert(filter.bound.begin(), study.settings.name);
  table.rows = results
                   ->query("SELECT * FROM trials WHERE study = ?" + filter.sql, filter.bound,
                           {std::numeric_limits<std::int64_t>::max(), 0})
                   .rows;
  list.where = list.sort = "";
  print_table(std::move(table), list);
  return 0;
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
            return [db, list] { return run(*db, *list); };
          }};
}

}  // namespace moebius
