#include "search/results/dbs/query.h"

#include <SQLiteCpp/Statement.h>

#include <chrono>
#include <cstring>

#include "search/results/dbs/connection.h"

// The user's own SQL: one SELECT on a connection of its own that can neither write nor reach other
// files, bounded in time, rows and size.
namespace moebius::sqlite {
namespace {

using Clock = std::chrono::steady_clock;
constexpr const char* kAllowed = "one SELECT over the tables and views of the schema";

int authorize(void*, int action, const char*, const char* detail, const char*, const char*) {
  switch (action) {
    case SQLITE_SELECT:
    case SQLITE_READ:
    case SQLITE_RECURSIVE:
      return SQLITE_OK;
    case SQLITE_FUNCTION:
      return detail && std::strcmp(detail, "load_extension") == 0 ? SQLITE_DENY : SQLITE_OK;
    default:
      return SQLITE_DENY;
  }
}

int too_late(void* deadline) {
  return Clock::now() > *static_cast<const Clock::time_point*>(deadline) ? 1 : 0;
}

void set_limits(sqlite3* handle) {
  sqlite3_limit(handle, SQLITE_LIMIT_ATTACHED, 0);
  sqlite3_limit(handle, SQLITE_LIMIT_LENGTH, 1 << 24);
  sqlite3_limit(handle, SQLITE_LIMIT_SQL_LENGTH, 1 << 20);
  sqlite3_limit(handle, SQLITE_LIMIT_EXPR_DEPTH, 100);
  sqlite3_db_config(handle, SQLITE_DBCONFIG_DEFENSIVE, 1, nullptr);
}

Json column_value(const SQLite::Column& column) {
  switch (column.getType()) {
    case SQLITE_INTEGER:
      return column.getInt64();
    case SQLITE_FLOAT:
      return column.getDouble();
    case SQLITE_NULL:
      return {};
    default:
      return valid_text(column.getString());
  }
}

void bind(SQLite::Statement& statement, int index, const Json& value) {
  if (const auto* integer = value.get_ptr<const Json::number_integer_t*>()) {
    statement.bind(index, *integer);
  } else if (const auto* real = value.get_ptr<const Json::number_float_t*>()) {
    statement.bind(index, *real);
  } else if (const auto* words = value.get_ptr<const Json::string_t*>()) {
    statement.bind(index, *words);
  } else if (const auto* flag = value.get_ptr<const Json::boolean_t*>()) {
    statement.bind(index, *flag ? 1 : 0);
  } else {
    statement.bind(index);
  }
}

// SQLite compiles up to the first ';' and ignores the rest.
void refuse_second_statement(sqlite3* handle, const std::string& sql) {
  sqlite3_stmt* first = nullptr;
  const char* rest = nullptr;
  const int code = sqlite3_prepare_v2(handle, sql.c_str(), -1, &first, &rest);
  const bool reads = first != nullptr && sqlite3_stmt_readonly(first) != 0;
  sqlite3_finalize(first);
  if (code != SQLITE_OK) throw SQLite::Exception(handle, code);
  if (!reads || std::strspn(rest, " \t\r\n;") != std::strlen(rest))
    bad_input("--sql", "is not a single SELECT", kAllowed);
}

}  // namespace

QueryResult run_query(const std::string& path, const std::string& sql,
                      const std::vector<Json>& bound, const QueryLimits& limits) {
  const auto database = connect(path, OpenMode::ReadOnly);
  sqlite3* handle = database->getHandle();
  if (sql.find('\0') != std::string::npos) bad_input("--sql", "contains a NUL byte");
  set_limits(handle);
  sqlite3_set_authorizer(handle, authorize, nullptr);
  Clock::time_point deadline = Clock::now() + std::chrono::seconds(limits.seconds);
  if (limits.seconds > 0) sqlite3_progress_handler(handle, 1000, too_late, &deadline);
  try {
    refuse_second_statement(handle, sql);
    SQLite::Statement statement(*database, sql);
    if (static_cast<std::size_t>(statement.getBindParameterCount()) != bound.size())
      bad_input("--sql", fmt::format("has {} parameters, {} values are bound",
                                     statement.getBindParameterCount(), bound.size()));
    for (std::size_t i = 0; i < bound.size(); ++i)
      bind(statement, static_cast<int>(i) + 1, bound[i]);
    QueryResult result;
    for (int i = 0; i < statement.getColumnCount(); ++i)
      result.columns.emplace_back(statement.getColumnName(i));
    while (static_cast<std::int64_t>(result.rows.size()) < limits.rows && statement.executeStep()) {
      std::vector<Json>& row = result.rows.emplace_back();
      for (int i = 0; i < statement.getColumnCount(); ++i)
        row.push_back(column_value(statement.getColumn(i)));
    }
    return result;
  } catch (const SQLite::Exception& error) {
    const int code = error.getErrorCode() & 0xFF;
    if (code == SQLITE_INTERRUPT)
      bad_input("--sql", fmt::format("stopped after {} s", limits.seconds));
    const bool users = code == SQLITE_ERROR || code == SQLITE_AUTH || code == SQLITE_TOOBIG ||
                       code == SQLITE_NOMEM || code == SQLITE_MISMATCH || code == SQLITE_RANGE;
    if (users) bad_input("--sql", error.what(), kAllowed);
    throw;
  }
}

}  // namespace moebius::sqlite
