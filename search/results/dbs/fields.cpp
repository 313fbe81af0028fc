#include "search/results/dbs/fields.h"

#include <SQLiteCpp/Statement.h>
#include <sqlite3.h>

#include <algorithm>
#include <set>

#include "search/results/builtin_catalog.h"
#include "search/results/dbs/rows.h"
#include "space/base/check.h"

namespace moebius::sqlite {
namespace {

std::string quoted(const std::string& text, char quote) {
  std::string result(1, quote);
  for (const char c : text) result += std::string(c == quote ? 2 : 1, c);
  return result + quote;
}

std::string column_of(const std::string& field) {
  static const std::set<std::string> own = {"study", "number", "position"};
  const bool taken =
      own.count(field) > 0 || sqlite3_keyword_check(field.data(), static_cast<int>(field.size()));
  return taken ? "field_" + field : field;
}

std::string view_text(Connection& database) {
  Bound view(database, "SELECT sql FROM sqlite_schema WHERE name = 'sublayers'");
  return view.executeStep() ? view.getColumn(0).getString() : "";
}

}  // namespace

void show_fields(Connection& database, const Spec& spec) {
  const std::string text = view_text(database);
  std::set<std::string> fields = {"type"};
  for (const SubLayer& sublayer : spec.sublayers)
    for (const auto& entry : sublayer.fields) fields.insert(entry.first);
  const bool shown = std::all_of(fields.begin(), fields.end(), [&](const std::string& field) {
    return text.find("field = " + quoted(field, '\'') + ")") != std::string::npos;
  });
  if (shown) return;
  SQLite::Statement stored(database, "SELECT DISTINCT field FROM sublayer");
  while (stored.executeStep()) fields.insert(stored.getColumn(0).getString());
  fields.erase("type");
  std::vector<std::string> order(fields.begin(), fields.end());
  order.insert(order.begin(), "type");
  std::string columns;
  for (const std::string& field : order)
    columns += fmt::format(",\n       max(value) FILTER (WHERE field = {}) AS {}",
                           quoted(field, '\''), quoted(column_of(field), '"'));
  database.exec("DROP VIEW IF EXISTS sublayers");
  database.exec("CREATE VIEW sublayers AS\nSELECT study.name AS study, number, position" + columns +
                "\nFROM sublayer\nJOIN study ON study.id = sublayer.study"
                "\nGROUP BY sublayer.study, number, position");
}

}  // namespace moebius::sqlite
