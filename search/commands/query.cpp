#include "search/commands/listing.h"
#include "search/commands/options.h"

namespace moebius {

Command commands_query() {
  struct Options {
    DbOptions db;
    ListOptions list;
    std::string sql;
    std::int64_t rows = 100'000;
  };
  return {"runs one SELECT on the results, read-only", [](Args& args) -> std::function<int()> {
            auto options = std::make_shared<Options>();
            args.example("moebius query --sql 'select * from blocks limit 5'");
            args.example(
                "moebius query --sql 'select state, count(*) n from trial group by state' -f csv");
            args.option("--db PATH|URL", options->db.db, "results database");
            args.option("--sql SELECT", options->sql,
                        "over the views trials, blocks, sublayers, pareto, lineage, failures, "
                        "leaderboard and the tables study, trial, sublayer, measurement, curve, "
                        "artifact");
            args.required("--sql");
            args.option("--rows N", options->rows, 1, 1'000'000, "rows at most");
            describe_format(args, options->list);
            return [options] {
              const auto db = open_existing(options->db, OpenMode::ReadOnly);
              QueryResult result = db->query(options->sql, {}, {options->rows});
              Table table;
              for (const std::string& name : result.columns) table.columns.push_back({name});
              table.rows = std::move(result.rows);
              print_table(std::move(table), options->list);
              return 0;
            };
          }};
}

}  // namespace moebius
