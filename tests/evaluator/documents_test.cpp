#include "evaluator/corpus/documents.h"

#include <gtest/gtest.h>

namespace moebius {
namespace {

std::vector<std::string> lines_of(std::string_view text, std::size_t longest) {
  std::vector<std::string> lines;
  for_each_line(text, longest, [&](std::string_view line) { lines.emplace_back(line); });
  return lines;
}

using Lines = std::vector<std::string>;

TEST(ForEachLine, LeavesOutLineEndsAndEmptyLines) {
  EXPECT_EQ(lines_of("ab\n\nc\n", 4), (Lines{"ab", "c"}));
  EXPECT_EQ(lines_of("ab\nc", 4), (Lines{"ab", "c"}));
  EXPECT_EQ(lines_of("", 4), Lines{});
  EXPECT_EQ(lines_of("\n\n", 4), Lines{});
}

TEST(ForEachLine, CutsLongLinesWithoutLosingAByte) {
  EXPECT_EQ(lines_of("abcd\nabcde\nabcdefghi", 4),
            (Lines{"abcd", "abcd", "e", "abcd", "efgh", "i"}));
}

TEST(ForEachLine, CutsBetweenCharacters) {
  // 1, 2, 3 and 4 bytes.
  EXPECT_EQ(lines_of("a\xC3\xA9\xE2\x82\xAC\xF0\x9F\x8E\xB5", 4),
            (Lines{"a\xC3\xA9", "\xE2\x82\xAC", "\xF0\x9F\x8E\xB5"}));
  EXPECT_EQ(lines_of("\x80\x80\x80\x80\x80\x80", 4), (Lines{"\x80\x80\x80\x80", "\x80\x80"}));
}

}  // namespace
}  // namespace moebius
