#include <array>
#include <cmath>
#include <cstring>
#include <numeric>

#include "evaluator/corpus/bin_file.h"
#include "evaluator/corpus/corpus.h"
#include "evaluator/corpus/prepare.h"
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
  auto tokens = counted(2000);
  for (std::size_t i = 99; i < 2000; i += 100) tokens[i] = 50256;
  const auto corpus = Corpus::open(directory.write("a.bin", bin(20240520, 1, tokens)), "");
  EXPECT_EQ(corpus->vocab(), 50257);
  EXPECT_EQ(corpus->documents(Split::Train), 18);
  EXPECT_EQ(corpus->size(Split::Train), 1800);
  EXPECT_EQ(corpus->size(Split::Validation), 100);
  TokenWindows batch;
  corpus->fixed_batch(Split::Validation, 0, 1, 10, batch);
  EXPECT_EQ(batch.tokens[0], 1000 + 1800);
  EXPECT_TRUE(std::isnan(corpus->bytes_per_token(Split::Train)));
  EXPECT_EQ(corpus->tokenizer(), nullptr);
}

TEST(Bin, WithoutEndOfTextIsOneDocumentSplitAtNinetyPercent) {
  const Folder directory;
  const std::vector<std::uint32_t> tokens(1000, 127'000);
  const auto corpus = Corpus::open(directory.write("a.bin", bin(20240801, 7, tokens)), "");
  EXPECT_EQ(corpus->vocab(), 128256);
  EXPECT_EQ(corpus->size(Split::Train), 900);
  EXPECT_EQ(corpus->size(Split::Validation), 50);
  EXPECT_EQ(corpus->size(Split::Test), 50);
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

TEST(Prepare, BytesBecomeTheVeryCorpusOfTheText) {
  const Folder directory;
  std::string text;
  for (int i = 0; i < 3000; ++i) text += "line " + std::to_string(i) + (i % 7 ? "\n" : "\n\n");
  const auto path = directory.write("a.txt", text);
  const PreparedCorpus prepared = prepare({path, directory.file("out/a"), "", 0});
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
  const PreparedCorpus prepared = prepare({path, directory.file("a"), "", 300});
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

TEST(Prepare, NoticesTokensThatAreNotThoseOfItsSidecar) {
  const Folder directory;
  const auto path = directory.write("a.txt", std::string(5000, 'a') + "b");
  prepare({path, directory.file("a"), "", 0});
  std::string bytes = read_text(directory.file("a_val.bin"));
  bytes[1030] = 'z';
  directory.write("a_val.bin", bytes);
  const std::string line = bad_input_of([&] { Corpus::open(directory.file("a_train.bin"), ""); });
  EXPECT_NE(line.find("prepare the data again"), std::string::npos) << line;
}

TEST(Prepare, WritesNothingOnBadInput) {
  const Folder directory;
  const auto tiny = directory.write("tiny.txt", "abc");
  const auto bad = directory.write("bad.jsonl", "{\"text\":\"x\"}\nnonsense\n");
  bad_input_of([&] { prepare({tiny, directory.file("o/x"), "", 0}); });
  bad_input_of([&] { prepare({bad, directory.file("p/x"), "", 0}); });
  bad_input_of([&] { prepare({tiny, directory.file("q/x"), "", 100000}); });
  bad_input_of([&] { prepare({tiny, directory.file("r/x"), tiny, 0}); });
  for (const char* name : {"o", "p", "q", "r"}) {
    EXPECT_FALSE(std::filesystem::exists(directory.file(name))) << name;
  }
}

}  // namespace
}  // namespace moebius
