#include "evaluator/corpus/corpus.h"

#include <algorithm>
#include <cmath>
#include <set>

#include "evaluator/corpus/documents.h"
#include "evaluator/corpus/tokenizer.h"
#include "evaluator_support.h"

namespace moebius {
namespace {

using testing_support::bad_input_of;
using testing_support::Folder;
using Texts = std::vector<std::string>;

constexpr std::array<Split, 3> kSplits = {Split::Train, Split::Validation, Split::Test};

Texts documents_of(const std::string& path) {
  Texts documents;
  TextSource(path).for_each([&](const Piece& piece) {
    if (piece.begins) documents.emplace_back();
    documents.back() += piece.text;
  });
  return documents;
}

// `count` documents of 18 letters and two newlines, made of a counter: any 16 bytes say where they
// are (up to 2900 documents).
std::string many_documents(int count) {
  std::string text;
  for (int i = 0; i < count; ++i) {
    for (int n = 6 * i; n < 6 * i + 6; ++n)
      for (const int digit : {n / 676 % 26, n / 26 % 26, n % 26})
        text += static_cast<char>('a' + digit);
    text += "\n\n";
  }
  return text;
}

// All tokens of a split as text, by windows of one token.
std::string text_of(const Corpus& corpus, Split split) {
  std::string text;
  TokenWindows window;
  for (std::int64_t i = 0; i < corpus.batches(split, 1, 1); ++i) {
    corpus.fixed_batch(split, i, 1, 1, window);
    if (i == 0) text += static_cast<char>(window.tokens[0]);
    text += static_cast<char>(window.targets[0]);
  }
  return text;
}

TEST(Documents, EndWithTheBlankLinesAfterThem) {
  const Folder directory;
  EXPECT_EQ(documents_of(directory.write("a", "one\ntwo\n\nthree\n\n\n\nfour")),
            (Texts{"one\ntwo\n\n", "three\n\n\n\n", "four"}));
  EXPECT_EQ(documents_of(directory.write("b", "\n\n\nlate\r\n\r\nnext\r\n")),
            (Texts{"\n\n\nlate\r\n\r\n", "next\r\n"}));
  // Lines of white space are blank; a line's own white space is its document's.
  EXPECT_EQ(documents_of(directory.write("d", "one\n \t\r\v\f\ntwo\n\n  three \n \n \n\tfour\n ")),
            (Texts{"one\n \t\r\v\f\n", "two\n\n", "  three \n \n \n", "\tfour\n "}));
  EXPECT_EQ(documents_of(directory.write("e", " \n \n  ")), Texts{" \n \n  "});
  EXPECT_EQ(documents_of(directory.write("c", std::string("\0\xFF\n\n\0", 5))),
            (Texts{std::string("\0\xFF\n\n", 4), std::string("\0", 1)}));
}

TEST(Documents, OfAFileAreTheFileAcrossBlockBorders) {
  const Folder directory;
  const std::string text = many_documents(150'000);  // 3 MB: more than two blocks
  std::string joined;
  for (const std::string& document : documents_of(directory.write("a.txt", text)))
    joined += document;
  EXPECT_EQ(joined, text);
  EXPECT_EQ(documents_of(directory.file("a.txt")).size(), 150'000u);
}

TEST(Documents, LongOnesComeInPiecesThatSayWhereTheyBeginAndEnd) {
  const Folder directory;
  constexpr std::size_t kPiece = 64 << 20;
  // The first document ends where a piece does; the second line's white space spans two pieces.
  const std::string path =
      directory.write("a.txt", std::string(kPiece - 2, 'x') + "\n\n" + "y\n\n" +
                                   std::string(kPiece + 5, ' ') + "z");
  std::vector<std::pair<std::size_t, std::string>> pieces;
  TextSource(path).for_each([&](const Piece& piece) {
    pieces.emplace_back(piece.text.size(),
                        std::string(piece.begins ? "b" : "-") + (piece.ends ? "e" : "-"));
  });
  using Pieces = decltype(pieces);
  EXPECT_EQ(pieces, (Pieces{{kPiece, "be"}, {kPiece, "b-"}, {0, "-e"}, {9, "be"}}));
}

TEST(Documents, ComeFromJsonLinesAndSortedDirectories) {
  const Folder directory;
  directory.write("d/b.txt", "second");
  directory.write("d/a/x.jsonl", "{\"text\":\"fi\\nrst\",\"id\":1}\n\n{\"text\":\"\\u00e9\"}\n");
  directory.write("d/.hidden/c.txt", "never");
  EXPECT_EQ(documents_of(directory.file("d")), (Texts{"fi\nrst\n\n", "\xC3\xA9\n\n", "second"}));
}

TEST(Documents, NameFileLineAndReasonOfBadJsonLines) {
  const Folder directory;
  const auto fault = [&](const std::string& line) {
    const std::string path = directory.write("a.jsonl", "{\"text\":\"ok\"}\n" + line + "\n");
    return bad_input_of([&] { documents_of(path); }).substr(path.size());
  };
  EXPECT_EQ(fault("{\"text\":"), ":2: not a JSON value");
  EXPECT_EQ(fault("[1]"), ":2: not an object; allowed: {\"text\": ..}; got: array of 1");
  EXPECT_EQ(fault("{\"txt\":\"x\"}"), ":2:/text: missing key \"text\"");
  EXPECT_EQ(fault("{\"text\":7}").rfind(":2:/text: not a string", 0), 0u);
}

TEST(TrainBatch, IsAFunctionOfSeedStepAndRow) {
  const Folder directory;
  const auto corpus = Corpus::open(directory.write("a.txt", many_documents(1000)), "");
  TokenWindows first, again, other;
  corpus->train_batch(1, 5, 8, 16, first);
  corpus->train_batch(1, 5, 8, 16, again);
  EXPECT_EQ(first.tokens, again.tokens);
  corpus->train_batch(1, 6, 8, 16, other);
  EXPECT_NE(first.tokens, other.tokens);
  corpus->train_batch(2, 5, 8, 16, other);
  EXPECT_NE(first.tokens, other.tokens);
  corpus->train_batch(1, 5, 4, 16, other);  // a smaller batch has the first rows
  EXPECT_TRUE(std::equal(other.tokens.begin(), other.tokens.end(), first.tokens.begin()));
  for (std::size_t row = 0; row < 8; ++row)
    for (std::size_t s = 0; s + 1 < 16; ++s)
      EXPECT_EQ(first.targets[row * 16 + s], first.tokens[row * 16 + s + 1]);
}

TEST(TrainBatch, RowsShareNoDocumentAndNoRowLeavesTheTrainingSplit) {
  const Folder directory;
  std::string text;  // every document is 130 times its own letter: 63 of them make a segment
  for (int i = 0; i < 200; ++i) text += std::string(130, static_cast<char>(33 + i)) + "\n\n";
  const auto corpus = Corpus::open(directory.write("a.txt", text), "");
  ASSERT_EQ(corpus->segments(Split::Train), 2);
  const std::string train = text_of(*corpus, Split::Train);
  ASSERT_GE(corpus->documents(Split::Train), 4 * 16);
  TokenWindows batch;
  for (std::int64_t t = 0; t < 200; ++t) {
    corpus->train_batch(3, t, 16, 20, batch);  // a window touches one or two documents
    std::set<std::int32_t> seen;
    for (std::size_t row = 0; row < 16; ++row) {
      std::set<std::int32_t> here(batch.tokens.begin() + row * 20,
                                  batch.tokens.begin() + (row + 1) * 20);
      here.insert(batch.targets[row * 20 + 19]);
      here.erase('\n');
      for (const std::int32_t document : here) {
        EXPECT_NE(train.find(static_cast<char>(document)), std::string::npos);
        EXPECT_TRUE(seen.insert(document).second) << "step " << t << ", row " << row;
      }
    }
  }
}

TEST(TrainBatch, RowsOfOneDocumentDoNotOverlap) {
  const Folder directory;
  std::string text;  // positions can be read back: 4 digits in base 26, 25 numbers a line
  for (int i = 0; i < 10'000; ++i) {
    for (const int digit : {i / 17576, i / 676 % 26, i / 26 % 26, i % 26})
      text += static_cast<char>('a' + digit);
    if (i % 25 == 24) text += '\n';
  }
  const auto corpus = Corpus::open(directory.write("a.txt", text), "");
  ASSERT_EQ(corpus->documents(Split::Train), 1);
  const std::string train = text_of(*corpus, Split::Train);
  TokenWindows batch;
  for (std::int64_t t = 0; t < 50; ++t) {
    corpus->train_batch(3, t, 16, 90, batch);
    std::vector<std::size_t> begins;
    for (std::size_t row = 0; row < 16; ++row)
      begins.push_back(train.find(
          std::string(batch.tokens.begin() + row * 90, batch.tokens.begin() + (row + 1) * 90)));
    std::sort(begins.begin(), begins.end());
    ASSERT_LT(begins.back(), train.size());
    for (std::size_t row = 1; row < 16; ++row) EXPECT_GT(begins[row] - begins[row - 1], 90u);
  }
}

TEST(TrainBatch, ReachesEveryTokenOfTheSplitUniformly) {
  const Folder directory;
  const auto corpus = Corpus::open(directory.write("a.txt", many_documents(1000)), "");
  std::set<std::vector<std::int32_t>> windows;
  TokenWindows batch;
  for (std::int64_t t = 0; t < 200'000; ++t) {
    corpus->train_batch(1, t, 1, 20, batch);
    windows.insert(batch.tokens);
  }
  EXPECT_EQ(static_cast<std::int64_t>(windows.size()), corpus->size(Split::Train) - 20);
}

TEST(FixedBatch, CoversTheSplitOnceWithRowsFarApart) {
  const Folder directory;
  const auto corpus = Corpus::open(directory.write("a.txt", many_documents(1000)), "");
  const std::string text = text_of(*corpus, Split::Validation);
  const std::int64_t batch = 4, seq = 16, n = corpus->batches(Split::Validation, batch, seq);
  ASSERT_EQ(n, (corpus->size(Split::Validation) - 1) / seq / batch);
  std::set<std::size_t> begins;
  TokenWindows windows;
  for (std::int64_t i = 0; i < n; ++i) {
    corpus->fixed_batch(Split::Validation, i, batch, seq, windows);
    std::size_t last = 0;
    for (std::int64_t row = 0; row < batch; ++row) {
      const std::string tokens(windows.tokens.begin() + row * seq,
                               windows.tokens.begin() + (row + 1) * seq);
      const std::size_t begin = text.find(tokens);
      EXPECT_EQ(begin, static_cast<std::size_t>((i + row * n) * seq));
      EXPECT_TRUE(row == 0 || begin - last == static_cast<std::size_t>(n * seq));
      EXPECT_TRUE(begins.insert(begin).second);
      last = begin;
    }
  }
  EXPECT_EQ(static_cast<std::int64_t>(begins.size()), n * batch);
}

TEST(Corpus, HashChangesWithEveryTokenAndNothingElse) {
  const Folder directory;
  std::string text = many_documents(1000);
  const auto hash = [&](const std::string& name) {
    return Corpus::open(directory.write(name, text), "")->hash();
  };
  const std::string before = hash("a.txt");
  EXPECT_EQ(hash("other-name.txt"), before);
  for (const std::size_t at : {std::size_t{5}, text.size() / 2, text.size() - 3}) {
    text[at] ^= 1;
    EXPECT_NE(hash("a.txt"), before);
    text[at] ^= 1;
  }
}

TEST(Corpus, RefusesWhatCannotBeRead) {
  const Folder directory;
  const auto fault = [](const std::string& path) {
    return bad_input_of([&] { Corpus::open(path, ""); }).substr(path.size());
  };
  EXPECT_EQ(fault(directory.write("empty.txt", "")), ": empty file");
  EXPECT_EQ(fault(directory.file("absent.txt")), ": cannot be read: No such file or directory");
  EXPECT_EQ(fault("/dev/zero"), ": not a regular file");
  std::filesystem::create_directory(directory.file("none"));
  EXPECT_EQ(fault(directory.file("none")), ": no files in this directory");
  directory.write("d/x_train.bin", "x");
  EXPECT_NE(fault(directory.file("d")).find("give the .bin file itself"), std::string::npos);
  const std::string huge = directory.write("huge.txt", "x");
  std::filesystem::resize_file(huge, 1ull << 40);  // sparse
  EXPECT_NE(fault(huge).find("data prepare"), std::string::npos);
  EXPECT_EQ(bad_input_of([] { Corpus::open("builtin", "x.model"); }),
            "--tokenizer: this corpus is tokenized already; allowed: none; got: x.model");
}

TEST(Corpus, TooLittleTextIsRefusedWithTheNumbers) {
  const Folder directory;
  const auto fault = [&](const std::string& text) {
    const std::string path = directory.write("a.txt", text);
    return bad_input_of([&] { Corpus::open(path, ""); }).substr(path.size());
  };
  const auto ending = [](const std::string& count) {
    return ": a split would be empty: too few segments, which are whole documents (blank lines end "
           "one) or, without any, lines of 8192 bytes or more; allowed: at least 3 segments; "
           "got: " +
           count;
  };
  EXPECT_EQ(fault("x"), ending("1"));
  EXPECT_EQ(fault(std::string(100'000, 'x')), ending("1"));  // one line
  EXPECT_EQ(fault(many_documents(820)), ending("2"));        // 16,400 bytes, just two segments
  EXPECT_EQ(fault("title\n\n" + std::string(100'000, 'x')), ending("1"));
  const auto small = Corpus::open(directory.write("small.txt", many_documents(830)), "");
  check_windows(*small, Split::Train, 4, 16);
  EXPECT_EQ(bad_input_of([&] { check_windows(*small, Split::Train, 4, 10'000); }),
            "corpus: the train split is too small for one window of S + 1 = 10000 + 1; allowed: at "
            "least 10001 tokens; got: " +
                std::to_string(small->size(Split::Train)) + " tokens");
  EXPECT_EQ(bad_input_of([&] { check_windows(*small, Split::Validation, 1024, 16); }),
            "corpus: the validation split is too small for one batch of B x S + 1 = 1024 x 16 + 1; "
            "allowed: at least 16385 tokens; got: " +
                std::to_string(small->size(Split::Validation)) + " tokens");
}

TEST(Corpus, ShakespeareIsCutIntoSpeeches) {
  const std::string shared = testing_support::shared_corpora();
  if (shared.empty()) GTEST_SKIP() << "no shared corpora (set MOEBIUS_SHARED)";
  const auto corpus = Corpus::open(shared + "/shakespeare.txt", "");
  std::int64_t total = 0, documents = 0;
  for (const Split split : kSplits) {
    total += corpus->size(split);
    documents += corpus->documents(split);
  }
  EXPECT_EQ(total, 1'115'394);
  EXPECT_EQ(documents, 7222);
  EXPECT_NEAR(static_cast<double>(corpus->size(Split::Train)), 0.9 * 1'115'394, 10'000);
  EXPECT_NEAR(static_cast<double>(corpus->size(Split::Validation)), 0.05 * 1'115'394, 5'000);
  EXPECT_TRUE(std::isnan(corpus->floor(Split::Validation, 16, 64, 1)));
}

}  // namespace
}  // namespace moebius
