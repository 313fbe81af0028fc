#pragma once
#include <cstddef>
#include <string>
#include <vector>

#include "evaluator/training/outcome.h"
#include "space/base/json.h"

namespace moebius {

// How a table shows a value; the other formats always carry the raw one.
enum class Style { Plain, Loss, Signed, Ratio, Count, Bytes, Seconds };

struct Column {
  // Heading, key, and word of --where and --sort: "tokens_per_active_parameter". Where it is wider
  // than its column, a table breaks it after an underscore.
  std::string name;
  Style style = Style::Plain;
  enum class In { Both, Data } in = In::Both;  // Data: json, jsonl and csv alone
};

// Rows of raw values: null, boolean, integer, number or string. NaN counts as null.
struct Table {
  std::vector<Column> columns;
  std::vector<std::vector<Json>> rows;
};

const std::vector<std::string>& table_formats();  // table, json, jsonl, csv, markdown

// `width` > 0 fits a table into that many columns by shortening its widest texts. Numbers stand
// right, null is '-', hostile texts are escaped (printable()); CSV cells that a spreadsheet would
// run (= + - @) are prefixed with an apostrophe.
std::string render(const Table& table, const std::string& format, std::size_t width = 0);
std::string cell_text(const Json& value, Style style);
Style style_of(MeasurementField::Unit unit);

// Columns of the terminal behind `descriptor`: $COLUMNS, else the terminal's own, else `fallback`.
std::size_t terminal_width(int descriptor, std::size_t fallback);
// Characters that a text takes on a terminal (UTF-8 code points), and its first `width` of them.
std::size_t text_width(const std::string& text);
std::string shortened(const std::string& text, std::size_t width);

// stdout. A reader that went away is no error; a full disk is Error(Storage), at the latest in
// flush_out().
void print_out(const std::string& text);
void flush_out();

}  // namespace moebius
