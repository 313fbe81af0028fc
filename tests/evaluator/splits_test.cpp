#include "evaluator/corpus/splits.h"

#include <algorithm>
#include <cmath>

#include "evaluator/corpus/unigram.h"
#include "evaluator_support.h"
#include "space/base/hash.h"

namespace moebius {
namespace {

using testing_support::bad_input_of;
using testing_support::Folder;

constexpr std::array<Split, 3> kSplits = {Split::Train, Split::Validation, Split::Test};

std::array<std::string, 3> texts_of(const SplitText& text) {
  std::array<std::string, 3> result;
  text.for_each([&](Split split, const Piece& piece) {
    result[static_cast<std::size_t>(split)] += piece.text;
  });
  return result;
}

std::array<std::int64_t, 3> counted(const std::vector<Split>& splits) {
  std::array<std::int64_t, 3> counts{};
  for (const Split split : splits) ++counts[static_cast<std::size_t>(split)];
  return counts;
}

// `size` bytes that say which document they are.
std::string document(int number, std::size_t size) {
  std::string text = "document " + std::to_string(number) + " ";
  text.resize(size - 2, 'x');
  return text + "\n\n";
}

TEST(DealSegments, FivePercentRoundedUpAreTestAndAsManyValidation) {
  using Counts = std::array<std::int64_t, 3>;
  EXPECT_EQ(counted(deal_segments(3, 0, "")), (Counts{1, 1, 1}));
  EXPECT_EQ(counted(deal_segments(20, 0, "")), (Counts{18, 1, 1}));
  EXPECT_EQ(counted(deal_segments(21, 0, "")), (Counts{17, 2, 2}));
  EXPECT_EQ(counted(deal_segments(1000, 5, "")), (Counts{900, 50, 50}));
  for (const std::int64_t few : {0, 1, 2})
    EXPECT_EQ(
        bad_input_of([&] { deal_segments(few, 0, "f.txt"); }).rfind("f.txt: a split would", 0), 0u);
}

// Values of another implementation of XXH3-64 (tests/cli/splits.py has it).
TEST(DealSegments, OrdersNumbersByTheirHash) {
  EXPECT_EQ(hash64(std::string_view("\0\0\0\0\0\0\0\0", 8)), 0xc77b3abb6f87acd9);
  EXPECT_EQ(hash64(std::string_view("\1\0\0\0\0\0\0\0", 8)), 0x2fbc593564db792e);
  EXPECT_EQ(hash64(std::string_view("\1\0\0\0\0\0\0\0", 8), 7), 0xa6b5aa3eef10acc4);
  const std::vector<Split> splits = deal_segments(30, 0, ""), other = deal_segments(30, 1, "");
  std::vector<int> test, validation;
  for (int i = 0; i < 30; ++i) {
    if (splits[static_cast<std::size_t>(i)] == Split::Test) test.push_back(i);
    if (splits[static_cast<std::size_t>(i)] == Split::Validation) validation.push_back(i);
  }
  EXPECT_EQ(test, (std::vector<int>{16, 18}));
  EXPECT_EQ(validation, (std::vector<int>{9, 27}));
  EXPECT_NE(splits, other);
}

TEST(Segmenter, WholeUnitsUntilThereIsEnough) {
  Segmenter segmenter(10);
  std::vector<std::int64_t> numbers;
  for (const std::int64_t size : {4, 6, 3, 30, 9, 1, 5})
    numbers.push_back(segmenter.place(size, true));
  EXPECT_EQ(numbers, (std::vector<std::int64_t>{0, 0, 1, 1, 2, 2, 3}));
  EXPECT_EQ(segmenter.place(50, false), 3);  // more of the same unit
  EXPECT_EQ(segmenter.place(1, false), 3);
  EXPECT_EQ(segmenter.place(1, true), 4);
  EXPECT_EQ(segmenter.count(), 5);
}

TEST(SplitText, WholeSegmentsInTheOrderOfTheText) {
  const Folder directory;
  std::string all;
  std::vector<std::string> segments;
  for (int i = 0; i < 40; ++i) {
    segments.push_back(document(2 * i, 3000) + document(2 * i + 1, 5192));
    all += segments.back();
  }
  const SplitText text(directory.write("a.txt", all));
  const std::vector<Split> splits = deal_segments(40, 0, "");
  std::array<std::string, 3> expected;
  for (std::size_t i = 0; i < 40; ++i) expected[static_cast<std::size_t>(splits[i])] += segments[i];
  EXPECT_EQ(texts_of(text), expected);
  EXPECT_EQ(text.segments(), (std::array<std::int64_t, 3>{36, 2, 2}));
  EXPECT_NE(texts_of(SplitText(directory.file("a.txt"), 1)), expected);
}

TEST(SplitText, WithoutDocumentsIsCutAtLineEndsAndEachSplitIsOneDocument) {
  const Folder directory;
  std::string all, ends;
  std::vector<std::string> segments(1);
  for (int i = 0; i < 5000; ++i) {
    const std::string line = "line " + std::to_string(i) + (i == 4999 ? "" : "\n");
    if (segments.back().size() >= static_cast<std::size_t>(kSegmentBytes)) segments.emplace_back();
    segments.back() += line;
    all += line;
  }
  const SplitText text(directory.write("a.txt", all));
  const std::vector<Split> splits =
      deal_segments(static_cast<std::int64_t>(segments.size()), 0, "");
  std::array<std::string, 3> expected;
  for (std::size_t i = 0; i < segments.size(); ++i)
    expected[static_cast<std::size_t>(splits[i])] += segments[i];
  EXPECT_EQ(texts_of(text), expected);
  std::array<std::string, 3> marks;
  text.for_each([&](Split split, const Piece& piece) {
    std::string& mark = marks[static_cast<std::size_t>(split)];
    if (piece.begins) mark += "b";
    if (piece.ends) mark += "e";
  });
  EXPECT_EQ(marks, (std::array<std::string, 3>{"be", "be", "be"}));
}

TEST(SplitText, LongDocumentsStayWhole) {
  const Folder directory;
  std::string all;
  for (int i = 0; i < 5; ++i) all += document(i, 50'000);
  const SplitText text(directory.write("a.txt", all));
  EXPECT_EQ(text.segments(), (std::array<std::int64_t, 3>{3, 1, 1}));
  for (const std::string& split : texts_of(text)) EXPECT_EQ(split.size() % 50'000, 0u);
}

TEST(SplitText, OfAnotherTextThanWasCountedIsRefused) {
  const Folder directory;
  std::string all;
  for (int i = 0; i < 10; ++i) all += document(i, 9000);
  const std::string path = directory.write("a.txt", all);
  const SplitText text(path);
  for (const std::string& changed : {all + document(10, 9000), all.substr(9000)}) {
    directory.write("a.txt", changed);
    EXPECT_EQ(bad_input_of([&] { texts_of(text); }),
              path + ": changed while it was read; try again");
  }
}

TEST(Corpus, ATextWithoutDocumentsIsTheSameFromItsTokens) {
  const Folder directory;
  std::string all;
  for (int i = 0; i < 5000; ++i) all += "line " + std::to_string(i) + "\n";
  const auto corpus = Corpus::open(directory.write("a.txt", all), "");
  for (const Split split : kSplits) EXPECT_EQ(corpus->documents(split), 1);
  EXPECT_EQ(corpus->segments(Split::Test), 1);
}

TEST(Unigram, IsTheCrossEntropyOfSmoothedFrequencies) {
  // Under (3 + 1, 0 + 1) / (3 + 2).
  EXPECT_DOUBLE_EQ(unigram_cross_entropy({1, 1}, {3, 0}), -(std::log(0.8) + std::log(0.2)) / 2);
  EXPECT_TRUE(std::isnan(unigram_cross_entropy({0, 0}, {3, 0})));
}

}  // namespace
}  // namespace moebius
