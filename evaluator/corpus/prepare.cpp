#include "evaluator/corpus/prepare.h"

#include <filesystem>
#include <fstream>
#include <iterator>

#include "evaluator/corpus/bin_file.h"
#include "evaluator/corpus/corpus_data.h"
#include "evaluator/corpus/splits.h"
#include "evaluator/corpus/tokenizer.h"
#include "space/base/check.h"

namespace moebius {
namespace {

std::string file_name(const std::string& path) {
  return std::filesystem::path(path).filename().string();
}

void make_directory(const std::string& output) {
  const auto directory = std::filesystem::path(output).parent_path();
  std::error_code error;
  if (!directory.empty()) std::filesystem::create_directories(directory, error);
  if (error) throw Error(Exit::Storage, directory.string() + ": " + error.message());
}

// The SentencePiece model to lie beside the tokens, "" for bytes.
std::string model_bytes(const PrepareOptions& options, const SplitText& text) {
  const auto train = [&](const TakeText& take) {
    text.for_each([&](Split split, const Piece& piece) {
      if (split == Split::Train) take(piece.text);
    });
  };
  if (options.train_vocab > 0) return trained_tokenizer(train, options.train_vocab);
  if (open_tokenizer(options.tokenizer)->source() == "bytes") return "";
  std::ifstream file(options.tokenizer, std::ios::binary);
  return {std::istreambuf_iterator<char>(file), {}};
}

}  // namespace

PreparedCorpus prepare(const PrepareOptions& options) {
  if (options.train_vocab > 0 && !options.tokenizer.empty())
    bad_input("--tokenizer", "a tokenizer is either given or trained", "one of the two");
  if (file_name(options.output).empty()) bad_input("--output", "needs a name", "DIR/NAME");
  const SplitText text(options.source, static_cast<std::uint64_t>(options.deal));
  const std::string model = model_bytes(options, text);
  make_directory(options.output);  // from here on nothing is wrong with the input
  const std::string model_path = options.output + ".model";
  if (!model.empty()) write_file(model_path, model);
  const auto tokenizer = open_tokenizer(model.empty() ? "" : model_path);

  const BinNames names(options.output + "_train.bin");
  Sidecar sidecar{tokenizer->source(), tokenizer->vocab(), tokenizer->end_of_text(), "", {},
                  text.segments(),     options.deal};
  if (!model.empty()) sidecar.tokenizer = file_name(model_path);
  std::array<std::unique_ptr<BinWriter>, 3> writers;
  for (std::size_t s = 0; s < 3; ++s)
    writers[s] = std::make_unique<BinWriter>(names.splits[s], tokenizer->vocab());
  text.for_each([&](Split split, const Piece& piece) {
    const auto s = static_cast<std::size_t>(split);
    writers[s]->add(tokenizer->encode_piece(piece.text, piece.ends));
    sidecar.bytes[s] += static_cast<double>(piece.text.size());
  });
  PreparedCorpus prepared;
  prepared.vocab = tokenizer->vocab();
  for (std::size_t s = 0; s < 3; ++s) {
    prepared.tokens[s] = writers[s]->tokens();
    writers[s]->finish();
    prepared.files.push_back(names.splits[s]);
  }
  const std::string sidecar_path = names.stem + kSidecarEnd;
  write_sidecar(sidecar_path, sidecar);
  sidecar.hash = prepared.hash = corpus_hash(read_bin_corpus(names.splits[0]));
  write_sidecar(sidecar_path, sidecar);
  prepared.files.push_back(sidecar_path);
  if (!model.empty()) prepared.files.push_back(model_path);
  return prepared;
}

}  // namespace moebius
