#include <array>
#include <cmath>
#include <cstring>
#include <numeric>
#include <set>

#include "evaluator/corpus/bin_file.h"
#include "evaluator/corpus/corpus.h"
#include "evaluator/corpus/prepare.h"
#include "evaluator/corpus/splits.h"
#include "evaluator/corpus/tokenizer.h"
#include "evaluator_support.h"

namespace moebius {
namespace {

using testing_support::bad_input_of;
using testing_support::Folder;
using testing_support::read_text;

// A llm.c file as its own documentation describes it.
template <class Token>
std::string bin(std::int32_t magic, std::int32_t version, const std::vector<Token>& tokens) {
  std::array<std::int32_t, 256> header{magic, version, static_cast<std::int32_t>(tokens.size())};
  std::string bytes(1024 + tokens.size() * sizeof(Token), '\0');
  std::memcpy(bytes.data(), header.data(), 1024);
  std::memcpy(bytes.data() + 1024, tokens.data(), tokens.size() * sizeof(Token));
  return bytes;
}
std::vector<std::uint16_t> counted(std::size_t n) {
  std::vector<std::uint16_t> tokens(n);
  std::iota(tokens.begin(), tokens.end(), std::uint16_t{1000});
  return tokens;
}

TEST(Bin, Gpt2FilesAreOneDocumentPerEndOfText) {
  const Folder directory;
  auto tokens = counted(20'000);  // documents of 100 tokens, segments of 2,100
  for (std::size_t i = 99; i < tokens.size(); i += 100) tokens[i] = 50256;
  const auto corpus = Corpus::open(directory.write("a.bin", bin(20240520, 1, tokens)), "");
  EXPECT_EQ(corpus->vocab(), 50257);
  EXPECT_EQ(corpus->segments(Split::Train), 8);
  EXPECT_EQ(corpus->segments(Split::Validation), 1);
  EXPECT_EQ(corpus->segments(Split::Test), 1);
  std::set<std::int32_t> firsts;
  std::int64_t all = 0;
  for (const Split split : {Split::Train, Split::Validation, Split::Test}) {
    all += corpus->size(split);
    EXPECT_EQ(corpus->documents(split), corpus->size(split) / 100);
    TokenWindows batch;
    for (std::int64_t i = 0; i < corpus->batches(split, 1, 100); ++i) {
      corpus->fixed_batch(split, i, 1, 100, batch);
      EXPECT_TRUE(firsts.insert(batch.tokens[0]).second);
      EXPECT_EQ(batch.tokens[98], batch.tokens[0] + 98);
      EXPECT_EQ(batch.tokens[99], 50256);
    }
  }
  EXPECT_EQ(all, 20'000);
  EXPECT_EQ(firsts.size(), 197u);  // a split's last window lacks its target
  EXPECT_TRUE(std::isnan(corpus->bytes_per_token(Split::Train)));
  EXPECT_EQ(corpus->tokenizer(), nullptr);
}

TEST(Bin, WithoutEndOfTextEachSplitIsOneDocument) {
  const Folder directory;
  std::vector<std::uint32_t> tokens(50'000);
  std::iota(tokens.begin(), tokens.end(), 0u);
  const auto corpus = Corpus::open(directory.write("a.bin", bin(20240801, 7, tokens)), "");
  EXPECT_EQ(corpus->vocab(), 128256);
  EXPECT_EQ(corpus->size(Split::Validation), 2 * 2048);  // 5 % of 25 segments, rounded up
  for (const Split split : {Split::Train, Split::Validation, Split::Test})
    EXPECT_EQ(corpus->documents(split), 1);
  TokenWindows batch;
  corpus->fixed_batch(Split::Validation, 1, 1, 2047, batch);
  EXPECT_EQ(batch.targets[0] - batch.tokens[0] == 1, false);  // where the second segment begins
  EXPECT_EQ(batch.targets[1] - batch.tokens[1], 1);
  const std::string small =
      directory.write("b.bin", bin(20240801, 7, std::vector<std::uint32_t>{1, 2, 3}));
  EXPECT_EQ(bad_input_of([&] { Corpus::open(small, ""); }).rfind(small + ": a split would be", 0),
            0u);
}

TEST(Bin, TrainFileFindsItsHeldOutFiles) {
  const Folder directory;
  const auto train = directory.write("x_train.bin", bin(20240520, 1, counted(500)));
  directory.write("x_val.bin", bin(20240520, 1, counted(70)));
  const auto corpus = Corpus::open(train, "");
  EXPECT_EQ(corpus->size(Split::Train), 500);
  EXPECT_EQ(corpus->size(Split::Validation), 70);
  EXPECT_EQ(corpus->size(Split::Test), 0);
  EXPECT_THROW(check_windows(*corpus, Split::Test, 1, 8), Error);
}

TEST(Bin, TokensInAFileAndOwnedOnesAreTheSame) {
  const Folder directory;
  const auto path = directory.write("a.bin", bin(20240520, 1, counted(3000)));
  const Tokens owned = read_bin(path, 1 << 20), filed = read_bin(path, 0);
  EXPECT_TRUE(owned.owned());
  EXPECT_FALSE(filed.owned());
  ASSERT_EQ(owned.size(), filed.size());
  for (const std::int64_t count : {1, 7, 2990}) {
    std::vector<std::int32_t> left(static_cast<std::size_t>(count)), right(left);
    owned.copy(10, count, left.data());
    filed.copy(10, count, right.data());
    EXPECT_EQ(left, right);
  }
}

TEST(Bin, PartsOfARowAreReadAcrossTheirBorders) {
  auto whole = std::make_shared<Tokens>(2);
  std::vector<std::int32_t> ids(100);
  std::iota(ids.begin(), ids.end(), 0);
  whole->append(ids);
  const Tokens parts = Tokens::parts(whole, {{10, 13}, {40, 41}, {20, 25}});
  ASSERT_EQ(parts.size(), 9);
  const std::vector<std::int32_t> expected = {10, 11, 12, 40, 20, 21, 22, 23, 24};
  for (std::size_t begin = 0; begin < 9; ++begin)
    for (std::size_t end = begin; end <= 9; ++end) {
      std::vector<std::int32_t> got(end - begin);
      parts.copy(static_cast<std::int64_t>(begin), static_cast<std::int64_t>(end - begin),
                 got.data());
      EXPECT_TRUE(std::equal(got.begin(), got.end(), expected.begin() + static_cast<long>(begin)));
    }
}

TEST(Bin, AFileCutShortWhileInUseIsAnErrorAndNotASignal) {
  const Folder directory;
  const auto path = directory.write("a.bin", bin(20240520, 1, counted(30'000)));
  const Tokens tokens = read_bin(path, 0);
  std::filesystem::resize_file(path, 4096);
  EXPECT_EQ(tokens[100], 1100);
  try {
    tokens[20'000];
    ADD_FAILURE() << "read behind the end";
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), Exit::Storage);
    EXPECT_EQ(error.what(), path + ": was cut short while in use");
  }
}

TEST(Bin, DamagedFilesAreRefusedWithTheNumbers) {
  const Folder directory;
  const std::string good = bin(20240520, 1, counted(1000));
  const auto fault = [&](const std::string& bytes) {
    const std::string path = directory.write("a.bin", bytes);
    return bad_input_of([&] { Corpus::open(path, ""); }).substr(path.size());
  };
  EXPECT_NE(fault(good.substr(0, 1000)).find("got: 1000 bytes"), std::string::npos);
  EXPECT_EQ(fault(good.substr(0, 3000)),
            ": its header says 1000 tokens; allowed: 3024 bytes; got: 3000 bytes");
  EXPECT_NE(fault(good + "x").find("got: 3025 bytes"), std::string::npos);
  EXPECT_NE(fault(bin(20240520, 2, counted(10))).find("got: magic 20240520, version 2"),
            std::string::npos);
  EXPECT_NE(fault(std::string(2048, 'x')).find("not a token file"), std::string::npos);
  auto tokens = counted(1000);
  tokens[777] = 60000;
  EXPECT_EQ(fault(bin(20240520, 1, tokens)),
            ": token outside the vocabulary at offset 777; allowed: 0..50256; got: 60000");
}

std::string lines(int count) {
  std::string text;
  for (int i = 0; i < count; ++i) text += "line " + std::to_string(i) + (i % 7 ? "\n" : "\n \n");
  return text;
}

TEST(Prepare, BytesBecomeTheVeryCorpusOfTheText) {
  const Folder directory;
  const auto path = directory.write("a.txt", lines(3000));
  const PreparedCorpus prepared = prepare({path, directory.file("out/a"), "", 0, 0});
  const auto direct = Corpus::open(path, ""),
             read = Corpus::open(directory.file("out/a_train.bin"), "");
  EXPECT_EQ(read->hash(), direct->hash());
  EXPECT_EQ(prepared.hash, direct->hash());
  EXPECT_EQ(read->vocab(), 256);
  EXPECT_EQ(read->bytes_per_token(Split::Train), 1);
  TokenWindows left, right;
  direct->train_batch(1, 2, 8, 32, left);
  read->train_batch(1, 2, 8, 32, right);
  EXPECT_EQ(left.tokens, right.tokens);
  EXPECT_EQ(prepared.files.size(), 4u);
}

TEST(Prepare, TrainsATokenizerThatTravelsWithTheTokens) {
  const Folder directory;
  std::string text;
  for (int i = 0; i < 2000; ++i) text += "the mill by the river " + std::to_string(i % 37) + "\n\n";
  const auto path = directory.write("a.txt", text);
  const PreparedCorpus prepared = prepare({path, directory.file("a"), "", 300, 0});
  EXPECT_EQ(prepared.vocab, 300);
  const auto direct = Corpus::open(path, directory.file("a.model"));
  std::filesystem::create_directory(directory.file("moved"));
  for (const std::string& file : prepared.files)
    std::filesystem::rename(
        file, directory.file("moved/" + std::filesystem::path(file).filename().string()));
  const auto read = Corpus::open(directory.file("moved/a_train.bin"), "");
  EXPECT_EQ(read->hash(), direct->hash());
  EXPECT_EQ(read->bytes_per_token(Split::Test), direct->bytes_per_token(Split::Test));
  EXPECT_EQ(read->tokenizer()->decode(read->tokenizer()->encode("by the mill")), "by the mill");
}

// The bytes of the tokenizer that a text trains.
std::string model_of(const std::string& text, std::int64_t deal) {
  const Folder directory;
  prepare({directory.write("a.txt", text), directory.file("a"), "", 300, deal});
  return read_text(directory.file("a.model"));
}

TEST(Prepare, TrainsATokenizerOnTheTrainingSplitAlone) {
  std::vector<std::string> segments(40);
  for (std::size_t i = 0; i < segments.size(); ++i)
    while (segments[i].size() < static_cast<std::size_t>(kSegmentBytes))
      segments[i] +=
          "the mill by the river " + std::to_string(segments[i].size() * 7919 % 97) + "\n\n";
  const auto joined = [&](const std::vector<Split>& splits, std::set<Split> drowned) {
    std::string text;
    for (std::size_t i = 0; i < segments.size(); ++i) {
      std::string segment = segments[i];
      if (drowned.count(splits[i]) > 0)
        for (char& byte : segment)
          if (byte >= 'a' && byte <= 'z') byte = static_cast<char>('z' - (byte - 'a') % 5);
      text += segment;
    }
    return text;
  };
  const std::vector<Split> splits = deal_segments(40, 0, "");
  const std::string plain = model_of(joined(splits, {}), 0);
  EXPECT_EQ(model_of(joined(splits, {Split::Validation, Split::Test}), 0), plain);
  EXPECT_NE(model_of(joined(splits, {Split::Train}), 0), plain);
}

TEST(Prepare, AnotherDealIsKeptByItsTokens) {
  const Folder directory;
  const auto path = directory.write("a.txt", lines(6000));
  const PreparedCorpus first = prepare({path, directory.file("a"), "", 0, 0}),
                       other = prepare({path, directory.file("b"), "", 0, 1});
  EXPECT_NE(first.hash, other.hash);
  const auto corpus = Corpus::open(directory.file("b_train.bin"), "");
  EXPECT_EQ(corpus->hash(), other.hash);
  EXPECT_EQ(corpus->segments(Split::Test), 1);
  EXPECT_NE(corpus->describe().find("of deal 1"), std::string::npos);
}

TEST(Prepare, NoticesTokensThatAreNotThoseOfItsSidecar) {
  const Folder directory;
  const auto path = directory.write("a.txt", lines(3000));
  prepare({path, directory.file("a"), "", 0, 0});
  std::string bytes = read_text(directory.file("a_val.bin"));
  bytes[1030] = 'z';
  directory.write("a_val.bin", bytes);
  const std::string line = bad_input_of([&] { Corpus::open(directory.file("a_train.bin"), ""); });
  EXPECT_NE(line.find("prepare the data again"), std::string::npos) << line;
}

TEST(Prepare, WritesNothingOnBadInput) {
  const Folder directory;
  const auto tiny = directory.write("tiny.txt", "abc");
  const auto good = directory.write("good.txt", lines(3000));
  const auto bad = directory.write("bad.jsonl", "{\"text\":\"x\"}\nnonsense\n");
  bad_input_of([&] { prepare({tiny, directory.file("o/x"), "", 0, 0}); });
  bad_input_of([&] { prepare({bad, directory.file("p/x"), "", 0, 0}); });
  bad_input_of([&] { prepare({good, directory.file("q/x"), "", 100000, 0}); });
  bad_input_of([&] { prepare({good, directory.file("r/x"), tiny, 0, 0}); });
  for (const char* name : {"o", "p", "q", "r"}) {
    EXPECT_FALSE(std::filesystem::exists(directory.file(name))) << name;
  }
}

}  // namespace
}  // namespace moebius
