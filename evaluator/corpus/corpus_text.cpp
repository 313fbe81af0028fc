#include <filesystem>

#include "evaluator/corpus/corpus_data.h"
#include "evaluator/corpus/documents.h"
#include "evaluator/corpus/generator.h"
#include "evaluator/corpus/splits.h"
#include "space/base/check.h"
#include "space/base/log.h"
#include "space/base/memory.h"
#include "space/base/rng.h"
#include "space/base/units.h"

namespace moebius {
namespace {

std::string cut_text(const Tokenizer& tokenizer) {
  return std::string("cut at blank lines") +
         (tokenizer.end_of_text() >= 0 ? " (end-of-text tokens)" : "") +
         ", 90 / 5 / 5 % by segments of 8 KiB";
}

void check_fits(const std::string& path) {
  const TextSource source(path);
  std::int64_t bytes = 0;
  for (const std::string& file : source.files())
    bytes += static_cast<std::int64_t>(std::filesystem::file_size(file));
  const std::int64_t limit = physical_memory() / 4;
  if (bytes > limit)
    bad_input(path, "text that does not fit a quarter of memory; run 'moebius data prepare' first",
              "at most " + bytes_text(limit), bytes_text(bytes));
}

bool all_equal(const SplitData& split) {
  const Tokens& tokens = *split.tokens;
  for (std::int64_t i = 1; i < tokens.size(); ++i)
    if (tokens[i] != tokens[0]) return false;
  return true;
}

// Splits that are filled document by document.
class Filling {
 public:
  explicit Filling(int width) {
    for (auto& tokens : tokens_) tokens = std::make_shared<Tokens>(width);
  }
  void add(Split split, std::span<const std::int32_t> ids, std::size_t bytes, bool begins) {
    const auto s = static_cast<std::size_t>(split);
    if (begins) starts_[s].push_back(tokens_[s]->size());
    tokens_[s]->append(ids);
    bytes_[s] += static_cast<double>(bytes);
  }
  void move_to(CorpusData& data) {
    for (std::size_t s = 0; s < 3; ++s)
      data.splits[s] = {tokens_[s], std::move(starts_[s]), bytes_[s]};
  }

 private:
  std::array<std::shared_ptr<Tokens>, 3> tokens_;
  std::array<std::vector<std::int64_t>, 3> starts_;
  std::array<double, 3> bytes_{};
};

}  // namespace

CorpusData read_text_corpus(const std::string& path, const std::string& tokenizer_name) {
  check_fits(path);
  const SplitText text(path);
  CorpusData data;
  data.tokenizer = open_tokenizer(tokenizer_name);
  data.vocab = data.tokenizer->vocab();
  data.source = path;
  data.cut = cut_text(*data.tokenizer);
  Filling filling(Tokens::width_for(data.vocab));
  text.for_each([&](Split split, const Piece& piece) {
    filling.add(split, data.tokenizer->encode_piece(piece.text, piece.ends), piece.text.size(),
                piece.begins);
  });
  filling.move_to(data);
  for (std::size_t s = 0; s < 3; ++s) data.splits[s].segments = text.segments()[s];
  if (all_equal(data[Split::Train])) warn("{}: all training tokens are the same", path);
  return data;
}

CorpusData generate_corpus() {
  constexpr std::int64_t kTrain = 1'900'000, kHeldOut = 105'000;  // tokens, at least
  CorpusData data;
  data.tokenizer = open_tokenizer("bytes");
  data.vocab = data.tokenizer->vocab();
  data.source = "builtin";
  data.cut = "drawn from 4 hidden domains with copying and recall";
  data.generated = true;
  Filling filling(1);
  std::uint64_t number = 0;
  for (const Split split : {Split::Train, Split::Validation, Split::Test}) {
    const std::int64_t wanted = split == Split::Train ? kTrain : kHeldOut;
    for (std::int64_t size = 0; size < wanted;) {
      const auto document = generate_document(Rng(derive_key(0, "generator-document", number++)));
      filling.add(split, document, document.size(), true);
      size += static_cast<std::int64_t>(document.size());
    }
  }
  filling.move_to(data);
  return data;
}

}  // namespace moebius
