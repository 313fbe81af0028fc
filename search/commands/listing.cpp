#include "search/commands/listing.h"

#include <unistd.h>

#include <algorithm>
#include <cctype>
#include <charconv>
#include <cmath>
#include <limits>
#include <optional>

#include "space/base/check.h"
#include "space/base/text.h"

namespace moebius {
namespace {

constexpr char kWhere[] = "--where";
constexpr std::size_t kLongest = 1024;  // characters of a condition

struct Condition {
  std::size_t column = 0;
  std::string op;
  std::optional<double> number;  // of the value, where it is one
  std::string text;
  bool null = false;
};

std::size_t column_index(const std::vector<Column>& columns, const std::string& name,
                         const std::string& option) {
  std::vector<std::string> names;
  for (const Column& column : columns) names.push_back(column.name);
  const auto found = std::find(names.begin(), names.end(), name);
  if (found == names.end())
    bad_input(option, unknown_name("unknown column '" + name + "'", name, names),
              join(names, ", "));
  return static_cast<std::size_t>(found - names.begin());
}

// Words, operators and quoted texts of a condition.
class Scanner {
 public:
  explicit Scanner(const std::string& text) : text_(text) {}

  bool done() {
    while (at_ < text_.size() && text_[at_] == ' ') ++at_;
    return at_ == text_.size();
  }

  std::string word() {
    const std::size_t begin = at_;
    while (at_ < text_.size() && text_[at_] != ' ' && kOperators.find(text_[at_]) == kNone) ++at_;
    return text_.substr(begin, at_ - begin);
  }

  std::string op() {
    const std::size_t begin = at_;
    while (at_ < text_.size() && at_ < begin + 2 && kOperators.find(text_[at_]) != kNone) ++at_;
    return text_.substr(begin, at_ - begin);
  }

  std::string value(bool& quoted) {
    quoted = at_ < text_.size() && text_[at_] == '\'';
    if (!quoted) {
      const std::size_t begin = at_;
      at_ = std::min(text_.find(' ', at_), text_.size());
      return text_.substr(begin, at_ - begin);
    }
    const std::size_t end = text_.find('\'', at_ + 1);
    if (end == kNone) bad_input(kWhere, "the quote is not closed", "", text_.substr(at_));
    const std::string result = text_.substr(at_ + 1, end - at_ - 1);
    at_ = end + 1;
    return result;
  }

 private:
  static constexpr std::size_t kNone = std::string::npos;
  static constexpr std::string_view kOperators = "=!<>~";
  const std::string& text_;
  std::size_t at_ = 0;
};

Condition read_condition(Scanner& scanner, const std::vector<Column>& columns) {
  static const std::vector<std::string> ops = {"=", "!=", "<", "<=", ">", ">=", "~"};
  Condition condition;
  condition.column = column_index(columns, scanner.word(), kWhere);
  scanner.done();
  condition.op = scanner.op();
  if (std::find(ops.begin(), ops.end(), condition.op) == ops.end())
    bad_input(kWhere, "not a comparison after '" + columns[condition.column].name + "'",
              join(ops, " "), condition.op);
  if (scanner.done()) bad_input(kWhere, "needs a value after '" + condition.op + "'");
  bool quoted = false;
  condition.text = scanner.value(quoted);
  condition.null = !quoted && condition.text == "null";
  double number = 0;
  const char* end = condition.text.data() + condition.text.size();
  const auto [rest, error] = std::from_chars(condition.text.data(), end, number);
  if (!quoted && error == std::errc() && rest == end) condition.number = number;
  return condition;
}

std::vector<Condition> read_conditions(const std::string& text,
                                       const std::vector<Column>& columns) {
  if (text.size() > kLongest)
    bad_input(kWhere, "too long", fmt::format("at most {} characters", kLongest),
              std::to_string(text.size()));
  std::vector<Condition> conditions;
  Scanner scanner(text);
  while (!scanner.done()) {
    conditions.push_back(read_condition(scanner, columns));
    if (scanner.done()) break;
    if (const std::string word = scanner.word(); word != "and")
      bad_input(kWhere, "conditions are joined by 'and'", "", word);
    if (scanner.done()) bad_input(kWhere, "needs a condition after 'and'");
  }
  return conditions;
}

// Null first, then numbers, then texts; -1, 0, 1.
int compare(const Json& left, const Json& right) {
  const auto kind = [](const Json& value) {
    return value.is_null() ? 0 : value.is_number() || value.is_boolean() ? 1 : 2;
  };
  if (kind(left) != kind(right)) return kind(left) < kind(right) ? -1 : 1;
  if (left.is_null()) return 0;
  if (kind(left) == 1) {
    const double l = left.is_boolean() ? left.get<bool>() : left.get<double>();
    const double r = right.is_boolean() ? right.get<bool>() : right.get<double>();
    return l < r ? -1 : l > r ? 1 : 0;
  }
  return left.get_ref<const std::string&>().compare(right.get_ref<const std::string&>());
}

// What a value is compared with; nothing where the condition's is of another kind.
std::optional<Json> operand_for(const Json& value, const Condition& condition) {
  if (value.is_string()) return condition.text;
  if (value.is_boolean() && (condition.text == "true" || condition.text == "false"))
    return condition.text == "true";
  if (condition.number) return *condition.number;
  return {};
}

bool holds(const Condition& condition, const Json& value) {
  if (condition.null) return value.is_null() == (condition.op == "=");
  if (value.is_null()) return false;
  if (condition.op == "~")
    return cell_text(value, Style::Plain).find(condition.text) != std::string::npos;
  const std::optional<Json> operand = operand_for(value, condition);
  if (!operand) return condition.op == "!=";
  const int order = compare(value, *operand);
  if (condition.op == "=") return order == 0;
  if (condition.op == "!=") return order != 0;
  if (condition.op == "<") return order < 0;
  if (condition.op == "<=") return order <= 0;
  return condition.op == ">" ? order > 0 : order >= 0;
}

struct Order {
  std::size_t column = 0;
  bool descending = false;
};

Order read_order(const std::string& sort, const std::vector<Column>& columns) {
  const std::size_t colon = sort.find(':');
  const std::string direction = colon == std::string::npos ? "asc" : sort.substr(colon + 1);
  if (direction != "asc" && direction != "desc")
    bad_input("--sort", "unknown direction", "COLUMN, COLUMN:asc, COLUMN:desc", sort);
  return {column_index(columns, sort.substr(0, colon), "--sort"), direction == "desc"};
}

void sort_rows(Table& table, const Order& order) {
  std::stable_sort(table.rows.begin(), table.rows.end(), [&](const auto& left, const auto& right) {
    const Json& l = left[order.column];
    const Json& r = right[order.column];
    if (l.is_null() || r.is_null()) return !l.is_null() && r.is_null();  // unknown comes last
    return order.descending ? compare(r, l) < 0 : compare(l, r) < 0;
  });
}

// holds() as SQL.
std::string sql_of(const Condition& condition, const std::string& column,
                   std::vector<Json>& bound) {
  if (condition.null) return fmt::format("{} IS {}NULL", column, condition.op == "=" ? "" : "NOT ");
  bound.emplace_back(condition.text);
  if (condition.op == "~") return fmt::format("instr({}, ?) > 0", column);
  std::string number = condition.op == "!=" ? "1" : "0";
  if (condition.number) {
    bound.emplace_back(*condition.number);
    number = fmt::format("{} {} ?", column, condition.op);
  }
  return fmt::format("CASE typeof({0}) WHEN 'null' THEN 0 WHEN 'text' THEN {0} {1} ? ELSE {2} END",
                     column, condition.op, number);
}

}  // namespace

void describe_format(Args& args, ListOptions& options) {
  args.choice("-f,--format", options.format, table_formats(), "how to print");
}

void describe_filters(Args& args, ListOptions& options) {
  args.option("--where CONDITION", options.where,
              "rows to show, as in \"loss < 2.1 and role = search\"");
  args.option("--sort COLUMN[:desc]", options.sort, "order of the rows");
  args.option("--limit N", options.limit, 1, 1'000'000, "rows at most");
}

void select(Table& table, const ListOptions& options) {
  for (auto& row : table.rows)
    for (Json& cell : row)
      if (cell.is_number_float() && !std::isfinite(cell.get<double>())) cell = nullptr;
  const std::vector<Condition> conditions = read_conditions(options.where, table.columns);
  std::erase_if(table.rows, [&](const std::vector<Json>& row) {
    return !std::all_of(conditions.begin(), conditions.end(), [&](const Condition& condition) {
      return holds(condition, row[condition.column]);
    });
  });
  if (!options.sort.empty()) sort_rows(table, read_order(options.sort, table.columns));
  if (options.limit > 0 && table.rows.size() > static_cast<std::size_t>(options.limit))
    table.rows.resize(static_cast<std::size_t>(options.limit));
}

SqlFilter sql_filter(const std::vector<Column>& columns, const ListOptions& options,
                     const std::string& order) {
  SqlFilter filter;
  for (const Condition& condition : read_conditions(options.where, columns))
    filter.sql += " AND " + sql_of(condition, columns[condition.column].name, filter.bound);
  filter.sql += " ORDER BY ";
  if (!options.sort.empty()) {
    const Order by = read_order(options.sort, columns);
    filter.sql +=
        fmt::format("{0} IS NULL, {0}{1}, ", columns[by.column].name, by.descending ? " DESC" : "");
  }
  filter.sql += order;
  if (options.limit > 0) filter.sql += fmt::format(" LIMIT {}", options.limit);
  return filter;
}

void print_table(Table table, const ListOptions& options) {
  select(table, options);
  const std::size_t width = terminal_width(STDOUT_FILENO, 0);
  print_out(render(table, options.format, width));
}

}  // namespace moebius
