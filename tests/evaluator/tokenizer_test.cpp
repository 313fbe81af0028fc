#include "evaluator/corpus/tokenizer.h"

#include "evaluator/corpus/corpus.h"
#include "evaluator/corpus/generator.h"
#include "evaluator_support.h"

namespace moebius {
namespace {

using testing_support::bad_input_of;
using testing_support::Folder;
using testing_support::read_text;

std::string prose() {
  std::string text;
  for (int i = 0; i < 2000; ++i)
    text += "The river " + std::to_string(i * 7919 % 1000) +
            " runs past the mill, and caf\xC3\xA9s\n" + (i % 5 == 4 ? "\n" : "");
  return text;
}

std::string trained_on(const std::string& text, std::int64_t vocab) {
  return trained_tokenizer([&](const TakeText& take) { take(text); }, vocab);
}

TEST(Tokenizer, BytesAreTheirOwnTokens) {
  const auto bytes = open_tokenizer("");
  std::string all;
  for (int byte = 0; byte < 256; ++byte) all += static_cast<char>(byte);
  const auto ids = bytes->encode(all);
  ASSERT_EQ(ids.size(), 256u);
  for (std::int32_t i = 0; i < 256; ++i) EXPECT_EQ(ids[static_cast<std::size_t>(i)], i);
  EXPECT_EQ(bytes->decode(ids), all);
  EXPECT_EQ(bytes->vocab(), 256);
  EXPECT_EQ(bytes->end_of_text(), -1);
}

TEST(Tokenizer, OfAModelIsItsOwnUnlessGivenAndNeverGuessed) {
  const Folder directory;
  const std::string own = directory.write("own.model", "x");
  EXPECT_EQ(tokenizer_of("bytes", ""), "bytes");
  EXPECT_EQ(tokenizer_of(own, ""), own);
  EXPECT_EQ(tokenizer_of(own, "other.model"), "other.model");
  EXPECT_EQ(tokenizer_of("", "other.model"), "other.model");
  const std::string allowed = "; allowed: --tokenizer with the SentencePiece model of its tokens";
  EXPECT_EQ(bad_input_of([] { tokenizer_of("", ""); }),
            "CHECKPOINT: the model's tokens came without their tokenizer" + allowed);
  std::filesystem::remove(own);
  EXPECT_EQ(bad_input_of([&] { tokenizer_of(own, ""); }),
            "CHECKPOINT: the model's tokenizer is not there any more" + allowed + "; got: " + own);
}

TEST(Tokenizer, TrainedModelGivesTextBackByteForByte) {
  const Folder directory;
  directory.write("a.model", trained_on(prose(), 320));
  const auto model = open_tokenizer(directory.file("a.model"));
  EXPECT_EQ(model->vocab(), 320);
  EXPECT_GE(model->end_of_text(), 0);
  for (const std::string& sample :
       {prose(), std::string("  two  spaces\n\n\ttab\r\n"),
        std::string("unseen: \xE2\x82\xAC \xF0\x9F\x8E\xB5"), std::string()})
    EXPECT_EQ(model->decode(model->encode(sample)), sample);
  EXPECT_LT(model->encode(prose()).size(), prose().size() / 2);
  EXPECT_EQ(model->encode_piece("a", true).back(), model->end_of_text());
  EXPECT_NE(model->encode_piece("a", false).back(), model->end_of_text());

  directory.write("b.model", trained_on(prose(), 320));
  EXPECT_EQ(read_text(directory.file("a.model")), read_text(directory.file("b.model")));
  EXPECT_EQ(open_tokenizer(directory.file("b.model"))->identity(), model->identity());
}

// The trainer skips lines above 4,192 bytes, so long ones are cut for it.
TEST(Tokenizer, LongLinesTrainAsIfTheyWereShort) {
  std::string one_line, short_lines;
  for (int i = 0; i < 6 * 1365; ++i) {  // 1365 characters of 3 bytes: the most below 4,096 bytes
    const std::string character = {'\xE4', static_cast<char>(0xB8 + i * i % 7),
                                   static_cast<char>(0x80 + i % 31)};
    one_line += character;
    short_lines += character + (i % 1365 == 1364 ? "\n" : "");
  }
  EXPECT_EQ(trained_on(one_line, 700), trained_on(short_lines, 700));
}

TEST(Tokenizer, RefusesWhatIsNoModelAndImpossibleVocabularies) {
  const Folder directory;
  const std::string text = directory.write("prose.txt", prose());
  EXPECT_EQ(bad_input_of([&] { open_tokenizer(text); }).rfind(text + ": ", 0), 0u);
  EXPECT_EQ(bad_input_of([&] { open_tokenizer("/nowhere.model"); }).rfind("/nowhere.model: ", 0),
            0u);
  for (const std::int64_t vocab : {10, 100000})
    EXPECT_EQ(bad_input_of([&] { trained_on(prose(), vocab); }).rfind("--vocab: ", 0), 0u);
}

TEST(Tokenizer, ModelsCutTextAtTheSameBytesAsBytes) {
  const Folder directory;
  const std::string text = directory.write("prose.txt", prose());
  directory.write("a.model", trained_on(prose(), 320));
  const auto bytes = Corpus::open(text, ""), pieces = Corpus::open(text, directory.file("a.model"));
  for (const Split split : {Split::Train, Split::Validation, Split::Test}) {
    EXPECT_EQ(bytes->documents(split), pieces->documents(split));
    EXPECT_NEAR(pieces->bytes_per_token(split) * static_cast<double>(pieces->size(split)),
                static_cast<double>(bytes->size(split)), 1e-6);
  }
  EXPECT_NE(bytes->hash(), pieces->hash());
}

}  // namespace
}  // namespace moebius
