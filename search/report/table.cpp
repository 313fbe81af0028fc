#include "search/report/table.h"

#include <sys/ioctl.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <charconv>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <string_view>

#include "space/base/check.h"
#include "space/base/text.h"
#include "space/base/units.h"

namespace moebius {
namespace {

std::string raw_text(const Json& value) {
  if (value.is_null()) return "";
  if (value.is_string()) return value.get_ref<const std::string&>();
  if (value.is_number_float()) return shortest(value.get<double>());
  return value.dump();
}

bool is_null(const Json& value) {
  return value.is_null() || (value.is_number_float() && !std::isfinite(value.get<double>()));
}

std::string csv_cell(const Json& value) {
  std::string text = is_null(value) ? "" : raw_text(value);
  if (value.is_string() && !text.empty() &&
      std::string_view("=+-@\t\r").find(text[0]) != std::string_view::npos)
    text.insert(text.begin(), '\'');
  if (text.find_first_of(",\"\r\n'") == std::string::npos) return text;
  std::string quoted = "\"";
  for (const char c : text) quoted += c == '"' ? std::string("\"\"") : std::string(1, c);
  return quoted + "\"";
}

std::string csv(const Table& table) {
  const auto line = [&](const auto& cell) {
    std::vector<std::string> cells;
    for (std::size_t c = 0; c < table.columns.size(); ++c) cells.push_back(csv_cell(cell(c)));
    return join(cells, ",") + "\n";
  };
  std::string result = line([&](std::size_t c) { return Json(table.columns[c].name); });
  for (const auto& row : table.rows) result += line([&](std::size_t c) { return row[c]; });
  return result;
}

nlohmann::ordered_json object(const Table& table, const std::vector<Json>& row) {
  nlohmann::ordered_json result = nlohmann::ordered_json::object();
  for (std::size_t c = 0; c < row.size(); ++c)
    result[table.columns[c].name] =
        is_null(row[c]) ? nlohmann::ordered_json() : nlohmann::ordered_json(row[c]);
  return result;
}

// Texts may hold any bytes (names in a foreign database): invalid UTF-8 is replaced, never thrown
// about.
std::string dump(const nlohmann::ordered_json& value, int indent) {
  return value.dump(indent, ' ', false, nlohmann::ordered_json::error_handler_t::replace);
}

std::string json(const Table& table, bool lines) {
  if (!lines) {
    nlohmann::ordered_json all = nlohmann::ordered_json::array();
    for (const auto& row : table.rows) all.push_back(object(table, row));
    return dump(all, 2) + "\n";
  }
  std::string result;
  for (const auto& row : table.rows) result += dump(object(table, row), -1) + "\n";
  return result;
}

struct Grid {
  std::vector<std::string> names;  // of the columns shown
  std::vector<std::vector<std::string>> cells;
  std::vector<std::size_t> widths;
  std::vector<bool> right;
};

Grid grid(const Table& table) {
  Grid result;
  std::vector<std::size_t> shown;
  for (std::size_t c = 0; c < table.columns.size(); ++c)
    if (table.columns[c].in != Column::In::Data) shown.push_back(c);
  for (const std::size_t c : shown) result.names.push_back(table.columns[c].name);
  result.right.assign(shown.size(), true);
  for (const auto& row : table.rows) {
    std::vector<std::string> texts;
    for (const std::size_t c : shown) {
      if (!row[c].is_number() && !row[c].is_null()) result.right[texts.size()] = false;
      texts.push_back(cell_text(row[c], table.columns[c].style));
    }
    result.cells.push_back(std::move(texts));
  }
  result.widths.assign(shown.size(), 0);
  for (const auto& row : result.cells)
    for (std::size_t c = 0; c < row.size(); ++c)
      result.widths[c] = std::max(result.widths[c], text_width(row[c]));
  return result;
}

// The pieces of a heading, each at most `width` wide where an underscore lets it be.
std::vector<std::string> heading_lines(const std::string& name, std::size_t width) {
  std::vector<std::string> lines = {""};
  for (std::size_t at = 0; at < name.size();) {
    const std::size_t end = std::min(name.find('_', at), name.size() - 1) + 1;
    const std::string piece = name.substr(at, end - at);
    if (!lines.back().empty() && text_width(lines.back() + piece) > width) lines.emplace_back();
    lines.back() += piece;
    at = end;
  }
  return lines;
}

// Puts the headings above the cells, broken into lines that end beside each other.
void put_headings(Grid& grid) {
  std::vector<std::vector<std::string>> headings;
  std::size_t height = 0;
  for (std::size_t c = 0; c < grid.names.size(); ++c) {
    headings.push_back(heading_lines(grid.names[c], std::max<std::size_t>(grid.widths[c], 6)));
    height = std::max(height, headings.back().size());
    for (const std::string& line : headings.back())
      grid.widths[c] = std::max(grid.widths[c], text_width(line));
  }
  std::vector<std::vector<std::string>> rows(height, std::vector<std::string>(headings.size()));
  for (std::size_t c = 0; c < headings.size(); ++c)
    for (std::size_t i = 0; i < headings[c].size(); ++i)
      rows[height - headings[c].size() + i][c] = headings[c][i];
  grid.cells.insert(grid.cells.begin(), rows.begin(), rows.end());
}

// Takes columns from the widest text column until the line fits; numbers are never cut.
void fit(Grid& grid, std::size_t width) {
  constexpr std::size_t kNarrowest = 8;
  const auto total = [&] {
    std::size_t sum = 0;
    for (const std::size_t w : grid.widths) sum += w + 2;
    return sum < 2 ? 0 : sum - 2;
  };
  while (total() > width) {
    std::size_t widest = grid.widths.size();
    for (std::size_t c = 0; c < grid.widths.size(); ++c)
      if (!grid.right[c] && grid.widths[c] > kNarrowest &&
          (widest == grid.widths.size() || grid.widths[c] > grid.widths[widest]))
        widest = c;
    if (widest == grid.widths.size()) return;
    --grid.widths[widest];
  }
}

std::string padded(const std::string& text, std::size_t width, bool right) {
  const std::string cut = shortened(text, width);
  const std::string space(width - text_width(cut), ' ');
  return right ? space + cut : cut + space;
}

std::string plain(const Table& table, std::size_t width) {
  Grid cells = grid(table);
  put_headings(cells);
  if (width > 0) fit(cells, width);
  std::string result;
  for (const auto& row : cells.cells) {
    std::string line;
    for (std::size_t c = 0; c < row.size(); ++c)
      line += (c == 0 ? "" : "  ") + padded(row[c], cells.widths[c], cells.right[c]);
    line.erase(line.find_last_not_of(' ') + 1);
    result += line + "\n";
  }
  return result;
}

std::string markdown(const Table& table) {
  Grid cells = grid(table);
  cells.cells.insert(cells.cells.begin(), cells.names);
  std::string result;
  for (std::size_t r = 0; r < cells.cells.size(); ++r) {
    for (const std::string& cell : cells.cells[r]) {
      result += "| ";
      for (const char c : cell) result += c == '|' ? std::string("\\|") : std::string(1, c);
      result += ' ';
    }
    result += "|\n";
    if (r > 0) continue;
    for (const bool right : cells.right) result += right ? "|---:" : "|---";
    result += "|\n";
  }
  return result;
}

}  // namespace

const std::vector<std::string>& table_formats() {
  static const std::vector<std::string> formats = {"table", "json", "jsonl", "csv", "markdown"};
  return formats;
}

std::string cell_text(const Json& value, Style style) {
  if (is_null(value)) return "-";
  if (value.is_string()) return printable(value.get_ref<const std::string&>());
  if (!value.is_number() || style == Style::Plain) return raw_text(value);
  const double number = value.get<double>();
  switch (style) {
    case Style::Loss:
      return fmt::format("{:.4f}", number);
    case Style::Signed:
      return fmt::format("{:+.4f}", number);
    case Style::Ratio:
      return fmt::format("{:.2f}", number);
    case Style::Count:
      return count_text(number);
    case Style::Bytes:
      return bytes_text(static_cast<std::int64_t>(number));
    case Style::Seconds:
      return seconds_text(number);
    case Style::Plain:
      break;
  }
  return raw_text(value);
}

Style style_of(MeasurementField::Unit unit) {
  switch (unit) {
    case MeasurementField::Unit::Loss:
      return Style::Loss;
    case MeasurementField::Unit::Count:
      return Style::Count;
    case MeasurementField::Unit::Ratio:
      return Style::Ratio;
    case MeasurementField::Unit::Seconds:
      return Style::Seconds;
    case MeasurementField::Unit::Bytes:
      return Style::Bytes;
    case MeasurementField::Unit::None:
      break;
  }
  return Style::Plain;
}

std::string render(const Table& table, const std::string& format, std::size_t width) {
  if (format == "json") return json(table, false);
  if (format == "jsonl") return json(table, true);
  if (format == "csv") return csv(table);
  if (format == "markdown") return markdown(table);
  return plain(table, width);
}

std::size_t terminal_width(int descriptor, std::size_t fallback) {
  if (const char* columns = std::getenv("COLUMNS")) {
    std::size_t value = 0;
    const auto [end, error] = std::from_chars(columns, columns + std::strlen(columns), value);
    if (error == std::errc() && *end == '\0' && value > 0) return value;
  }
  winsize size{};
  if (ioctl(descriptor, TIOCGWINSZ, &size) == 0 && size.ws_col > 0) return size.ws_col;
  return fallback;
}

std::size_t text_width(const std::string& text) {
  return static_cast<std::size_t>(std::count_if(text.begin(), text.end(), [](char c) {
    return (static_cast<unsigned char>(c) & 0xC0U) != 0x80U;
  }));
}

std::string shortened(const std::string& text, std::size_t width) {
  if (text_width(text) <= width) return text;
  std::string result;
  std::size_t taken = 0;
  for (const char c : text) {
    if ((static_cast<unsigned char>(c) & 0xC0U) != 0x80U && ++taken >= width) break;
    result += c;
  }
  return result + "…";
}

namespace {
int first_failure = 0;  // errno of the first write to stdout that failed
}

void print_out(const std::string& text) {
  if (std::fwrite(text.data(), 1, text.size(), stdout) != text.size() && first_failure == 0)
    first_failure = errno;
}

void flush_out() {
  if (std::fflush(stdout) != 0 && first_failure == 0) first_failure = errno;
  if (first_failure == 0 || first_failure == EPIPE) return;
  throw Error(Exit::Storage, std::string("stdout: ") + std::strerror(first_failure));
}

}  // namespace moebius
