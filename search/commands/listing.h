#pragma once
#include <cstdint>
#include <string>
#include <vector>

#include "search/commands/args.h"
#include "search/report/table.h"

namespace moebius {

// The options every listing has: -f/--format, and for tables of many rows --where, --sort, --limit.
struct ListOptions {
  std::string format = "table";
  std::string where, sort;
  std::int64_t limit = 0;  // 0 = all
};
void describe_format(Args& args, ListOptions& options);
void describe_filters(Args& args, ListOptions& options);

// Keeps the rows for which the condition holds, then sorts, then cuts. Conditions are
// "COLUMN OP VALUE [and ...]" with = != < <= > >= and ~ (contains); values are numbers, words,
// 'quoted words' or null. Error(BadInput) names --where or --sort.
void select(Table& table, const ListOptions& options);

// The same as SQL, to stand behind "SELECT .. WHERE ..": names are those of `columns`, values are
// bound. `order`: the column that breaks ties.
struct SqlFilter {
  std::string sql;  // " AND .. ORDER BY .. LIMIT .."
  std::vector<Json> bound;
};
SqlFilter sql_filter(const std::vector<Column>& columns, const ListOptions& options,
                     const std::string& order);

// select() and the table on stdout, in the format asked for.
void print_table(Table table, const ListOptions& options);

}  // namespace moebius
