#include "evaluator/corpus/tokenizer.h"

#include <sentencepiece_processor.h>
#include <sentencepiece_trainer.h>

#include <algorithm>
#include <filesystem>
#include <unordered_map>

#include "evaluator/corpus/documents.h"
#include "space/base/check.h"
#include "space/base/hash.h"
#include "space/base/text.h"

namespace moebius {
namespace {

class Bytes : public Tokenizer {
 public:
  std::int64_t vocab() const override { return 256; }
  std::int32_t end_of_text() const override { return -1; }
  std::vector<std::int32_t> encode(std::string_view text) const override {
    std::vector<std::int32_t> ids(text.size());
    std::transform(text.begin(), text.end(), ids.begin(),
                   [](char byte) { return std::int32_t{static_cast<unsigned char>(byte)}; });
    return ids;
  }
  std::string decode(std::span<const std::int32_t> ids) const override {
    std::string text;
    for (const std::int32_t id : ids)
      if (id >= 0 && id < 256) text += static_cast<char>(id);
    return text;
  }
  const std::string& source() const override { return name_; }
  std::string identity() const override { return name_; }

 private:
  std::string name_ = "bytes";
};

class SentencePiece : public Tokenizer {
 public:
  explicit SentencePiece(const std::string& path) : path_(path) {
    const auto status = processor_.Load(path);
    if (!status.ok())
      bad_input(path, std::string("not a SentencePiece model: ") + status.error_message());
  }
  std::int64_t vocab() const override { return processor_.GetPieceSize(); }
  std::int32_t end_of_text() const override { return processor_.eos_id(); }
  std::vector<std::int32_t> encode(std::string_view text) const override {
    std::vector<int> ids;
    const auto status = processor_.Encode({text.data(), text.size()}, &ids);
    MOEBIUS_CHECK(status.ok(), "[tokenizer] {}: {}", path_, status.error_message());
    return ids;
  }
  std::string decode(std::span<const std::int32_t> ids) const override {
    std::vector<int> known;
    for (const std::int32_t id : ids)
      if (id >= 0 && id < processor_.GetPieceSize()) known.push_back(id);
    std::string text;
    const auto status = processor_.Decode(known, &text);
    MOEBIUS_CHECK(status.ok(), "[tokenizer] {}: {}", path_, status.error_message());
    return text;
  }
  const std::string& source() const override { return path_; }
  std::string identity() const override { return hash_hex(processor_.serialized_model_proto()); }

 private:
  std::string path_;
  sentencepiece::SentencePieceProcessor processor_;
};

// Lines of the texts, as SentencePiece's trainer asks for them.
class Lines : public sentencepiece::SentenceIterator {
 public:
  static constexpr std::size_t kMostBytes = 64 << 20;
  static constexpr std::size_t kLongestLine = 4096;  // the trainer skips lines above 4192 bytes

  void add(std::string_view text) {
    for_each_line(text, kLongestLine, [this](std::string_view line) {
      if (bytes_ >= kMostBytes) return;
      lines_.emplace_back(line);
      bytes_ += line.size();
    });
  }
  bool done() const override { return at_ >= lines_.size(); }
  void Next() override { ++at_; }
  const std::string& value() const override { return lines_[at_]; }
  sentencepiece::util::Status status() const override { return {}; }

 private:
  std::vector<std::string> lines_;
  std::size_t bytes_ = 0, at_ = 0;
};

}  // namespace

std::vector<std::int32_t> Tokenizer::encode_piece(std::string_view text, bool ends) const {
  std::vector<std::int32_t> ids = encode(text);
  if (ends && end_of_text() >= 0) ids.push_back(end_of_text());
  return ids;
}

std::shared_ptr<const Tokenizer> open_tokenizer(const std::string& source) {
  if (source.empty() || source == "bytes") return std::make_shared<Bytes>();
  return std::make_shared<SentencePiece>(source);
}

std::string tokenizer_of(const std::string& own, const std::string& given) {
  const std::string allowed = "--tokenizer with the SentencePiece model of its tokens";
  if (own.empty() && given.empty())
    bad_input("CHECKPOINT", "the model's tokens came without their tokenizer", allowed);
  std::error_code error;
  if (given.empty() && own != "bytes" && !std::filesystem::exists(own, error))
    bad_input("CHECKPOINT", "the model's tokenizer is not there any more", allowed, printable(own));
  return given.empty() ? own : given;
}

std::string trained_tokenizer(const std::function<void(const TakeText&)>& texts,
                              std::int64_t vocab) {
  Lines lines;
  texts([&](std::string_view text) { lines.add(text); });
  const std::unordered_map<std::string, std::string> options = {
      {"model_type", "bpe"},
      {"vocab_size", std::to_string(vocab)},
      {"byte_fallback", "true"},
      {"character_coverage", "0.9995"},
      {"normalization_rule_name", "identity"},
      {"remove_extra_whitespaces", "false"},
      {"add_dummy_prefix", "false"},
      {"bos_id", "-1"},
      {"eos_id", "1"},
      {"num_threads", "1"},
      {"minloglevel", "3"}};
  std::string model;
  const auto status = sentencepiece::SentencePieceTrainer::Train(options, &lines, &model);
  if (!status.ok())
    bad_input("--vocab", "this text gives no such vocabulary: " + status.ToString(), "",
              std::to_string(vocab));
  return model;
}

}  // namespace moebius
