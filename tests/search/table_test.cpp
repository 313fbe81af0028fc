#include "search/report/table.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstdlib>
#include <limits>

#include "search/commands/listing.h"
#include "space/base/check.h"

namespace moebius {
namespace {

using testing::HasSubstr;

Table example() {
  Table table;
  table.columns = {{"number"}, {"name"}, {"loss", Style::Loss}};
  table.rows = {
      {0, "agaf", 2.5}, {1, "a", std::numeric_limits<double>::quiet_NaN()}, {12, nullptr, 1.25}};
  return table;
}

TEST(Table, NumbersStandRightAndNullIsADash) {
  EXPECT_EQ(render(example(), "table"),
            "number  name    loss\n"
            "     0  agaf  2.5000\n"
            "     1  a          -\n"
            "    12  -     1.2500\n");
}

TEST(Table, JsonKeepsRawValuesInColumnOrder) {
  EXPECT_EQ(render(example(), "jsonl"),
            "{\"number\":0,\"name\":\"agaf\",\"loss\":2.5}\n"
            "{\"number\":1,\"name\":\"a\",\"loss\":null}\n"
            "{\"number\":12,\"name\":null,\"loss\":1.25}\n");
  EXPECT_EQ(Json::parse(render(example(), "json")).size(), 3U);
}

TEST(Table, CsvCellsCannotBecomeFormulas) {
  Table table{{{"a"}}, {{"=1+1"}, {"+1"}, {"-x"}, {"@x"}, {"say \"hi\", all"}, {-1.5}}};
  EXPECT_EQ(render(table, "csv"),
            "a\n\"'=1+1\"\n\"'+1\"\n\"'-x\"\n\"'@x\"\n\"say \"\"hi\"\", all\"\n-1.5\n");
}

TEST(Table, CsvKeepsEmptyFirstCells) {
  Table table{{{"a"}, {"b"}}, {{nullptr, 1}}};
  EXPECT_EQ(render(table, "csv"), "a,b\n,1\n");
}

TEST(Table, MarkdownEscapesBars) {
  Table table{{{"a"}, {"b"}}, {{"x|y", 3}}};
  EXPECT_EQ(render(table, "markdown"), "| a | b |\n|---|---:|\n| x\\|y | 3 |\n");
}

TEST(Table, HostileNamesCannotDriveATerminal) {
  Table table{{{"a"}}, {{"\x1b[2Jgone\n"}}};
  const std::string text = render(table, "table");
  EXPECT_EQ(text.find('\x1b'), std::string::npos);
  EXPECT_EQ(std::count(text.begin(), text.end(), '\n'), 2);
}

TEST(Table, InvalidUtf8IsReplacedInJson) {
  Table table{{{"a"}}, {{std::string("\xff")}}};
  EXPECT_THAT(render(table, "jsonl"), HasSubstr("\xef\xbf\xbd"));
}

TEST(Table, FitsTheTerminalByShorteningTexts) {
  Table table{{{"n"}, {"text"}}, {{123456, std::string(60, 'x')}}};
  const std::string text = render(table, "table", 30);
  for (std::size_t begin = 0; begin < text.size();) {
    const std::size_t end = text.find('\n', begin);
    EXPECT_LE(text_width(text.substr(begin, end - begin)), 30U);
    begin = end + 1;
  }
  EXPECT_THAT(text, HasSubstr("123456"));
  EXPECT_THAT(text, HasSubstr("…"));
}

TEST(Table, WidthIsCountedInCharacters) {
  EXPECT_EQ(text_width("±Δ…"), 3U);
  EXPECT_EQ(shortened("±Δ±Δ", 3), "±Δ…");
  EXPECT_EQ(shortened("abc", 3), "abc");
}

TEST(Table, DataColumnsStayOffTheScreen) {
  Table table{{{"a"}, {"b", Style::Plain, Column::In::Data}, {"c"}}, {{1, 2, 3}}};
  EXPECT_EQ(render(table, "table"), "a  c\n1  3\n");
  EXPECT_EQ(render(table, "csv"), "a,b,c\n1,2,3\n");
}

TEST(Table, HeadingsAreTheNamesBrokenWhereTheyAreWide) {
  const Table table{{{"n"}, {"active_parameters"}}, {{1, 12}}};
  EXPECT_EQ(render(table, "table"),
            "      active_\n"
            "n  parameters\n"
            "1          12\n");
  EXPECT_EQ(render(table, "csv"), "n,active_parameters\n1,12\n");
}

TEST(Table, TerminalWidthHonoursColumns) {
  setenv("COLUMNS", "57", 1);
  EXPECT_EQ(terminal_width(1, 100), 57U);
  setenv("COLUMNS", "57x", 1);
  EXPECT_NE(terminal_width(1, 100), 57U);
  unsetenv("COLUMNS");
}

std::vector<Json> selected(const std::string& where, const std::string& sort = "",
                           std::int64_t limit = 0) {
  Table table = example();
  ListOptions options;
  options.where = where;
  options.sort = sort;
  options.limit = limit;
  select(table, options);
  std::vector<Json> numbers;
  for (const auto& row : table.rows) numbers.push_back(row[0]);
  return numbers;
}

std::string select_error(const std::string& where, const std::string& sort = "") {
  try {
    selected(where, sort);
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), Exit::BadInput);
    return error.what();
  }
  return "no error";
}

TEST(Select, ConditionsCompareNumbersTextsAndNull) {
  using V = std::vector<Json>;
  EXPECT_EQ(selected("loss < 2"), (V{12}));
  EXPECT_EQ(selected("loss>=1.25 and number<12"), (V{0}));
  EXPECT_EQ(selected("name = agaf"), (V{0}));
  EXPECT_EQ(selected("name = 'agaf' and loss = 2.5"), (V{0}));
  EXPECT_EQ(selected("name ~ a"), (V{0, 1}));
  EXPECT_EQ(selected("loss = null"), (V{1}));
  EXPECT_EQ(selected("name != null"), (V{0, 1}));
  EXPECT_EQ(selected("number != 0"), (V{1, 12}));
  EXPECT_EQ(selected("number = x"), (V{}));
  EXPECT_EQ(selected(""), (V{0, 1, 12}));
}

TEST(Select, BooleansAreTrueOrFalse) {
  const auto count = [](const std::string& where) {
    Table table{{{"tied"}}, {{true}, {false}, {true}}};
    ListOptions options;
    options.where = where;
    select(table, options);
    return table.rows.size();
  };
  EXPECT_EQ(count("tied = true"), 2U);
  EXPECT_EQ(count("tied != true"), 1U);
  EXPECT_EQ(count("tied = false"), 1U);
  EXPECT_EQ(count("tied = 1"), 2U);
  EXPECT_EQ(count("tied = yes"), 0U);
}

TEST(Select, SortsWithTheUnknownLast) {
  using V = std::vector<Json>;
  EXPECT_EQ(selected("", "loss"), (V{12, 0, 1}));
  EXPECT_EQ(selected("", "loss:desc"), (V{0, 12, 1}));
  EXPECT_EQ(selected("", "number:desc", 2), (V{12, 1}));
}

TEST(Select, SqlIsOnlyAText) {
  EXPECT_EQ(selected("name = 'x; DROP TABLE trial;--'"), (std::vector<Json>{}));
}

TEST(Select, SaysWhatIsWrong) {
  EXPECT_THAT(select_error("los < 2"), HasSubstr("did you mean 'loss'?"));
  EXPECT_THAT(select_error("loss <> 2"), HasSubstr("not a comparison"));
  EXPECT_THAT(select_error("loss <"), HasSubstr("needs a value"));
  EXPECT_THAT(select_error("loss < 2 or 1"), HasSubstr("joined by 'and'"));
  EXPECT_THAT(select_error("loss < 2 and"), HasSubstr("needs a condition"));
  EXPECT_THAT(select_error("name = 'x"), HasSubstr("quote is not closed"));
  EXPECT_THAT(select_error(std::string(1 << 20, 'x')), HasSubstr("too long"));
  EXPECT_THAT(select_error("", "loss:up"), HasSubstr("unknown direction"));
}

}  // namespace
}  // namespace moebius
