#include "evaluator/corpus/corpus.h"

#include <algorithm>
#include <cmath>

#include "evaluator/corpus/prepare.h"
#include "evaluator/corpus/tokenizer.h"
#include "evaluator/corpus/unigram.h"
#include "search/commands/args.h"
#include "search/report/table.h"

namespace moebius {
namespace {

using Run = std::function<int()>;

constexpr Split kSplits[] = {Split::Train, Split::Validation, Split::Test};

int run_prepare(const PrepareOptions& options) {
  const PreparedCorpus prepared = prepare(options);
  for (const std::string& file : prepared.files) print_out(file + "\n");
  print_out(fmt::format("{} tokens for training, {} for validation, {} for test; vocabulary {}\n",
                        prepared.tokens[0], prepared.tokens[1], prepared.tokens[2],
                        prepared.vocab));
  print_out(fmt::format("next: moebius data info {}\n", shell_quoted(prepared.files.front())));
  return 0;
}

Run describe_prepare(Args& args) {
  auto options = std::make_shared<PrepareOptions>();
  args.example("moebius data prepare my.txt -o data/my");
  args.example("moebius data prepare texts/ -o data/my --train-tokenizer 8000");
  args.positional("SOURCE", options->source, true, "a text file, JSONL, or a directory of either");
  args.option("-o,--out DIR/NAME", options->output,
              "writes NAME_train.bin, NAME_val.bin, NAME_test.bin (llm.c)");
  args.required("--out");
  args.option("--tokenizer FILE", options->tokenizer, "SentencePiece model; bytes when left out");
  args.option("--train-tokenizer N", options->train_vocab, 260, 1 << 20,
              "train a SentencePiece model of N pieces on the source's training split");
  args.option(
      "--deal N", options->deal, 0, std::int64_t{1} << 62,
      "another choice of the segments for each split: for measuring what a figure owes to it");
  return [options] { return run_prepare(*options); };
}

Json bytes_of(const Corpus& corpus, Split split) {
  const double bytes = corpus.bytes_per_token(split) * static_cast<double>(corpus.size(split));
  return std::isfinite(bytes) ? Json(std::llround(bytes)) : Json();
}

Json segments_of(const Corpus& corpus, Split split) {
  return corpus.segments(split) > 0 ? Json(corpus.segments(split)) : Json();
}

// Nats per token: [of a split][under the token frequencies of a split].
std::array<std::array<Json, 3>, 3> unigrams(const Corpus& corpus) {
  std::array<std::vector<std::int64_t>, 3> counts;
  for (std::size_t s = 0; s < 3; ++s) counts[s] = corpus.counts(kSplits[s]);
  std::array<std::array<Json, 3>, 3> nats;
  for (std::size_t of = 0; of < 3; ++of)
    for (std::size_t under = 0; under < 3; ++under)
      if (corpus.size(kSplits[under]) > 0)
        nats[of][under] = or_null(unigram_cross_entropy(counts[of], counts[under]));
  return nats;
}

Json info_json(const Corpus& corpus, const std::string& source) {
  Json splits = Json::object(), nats = Json::object();
  const auto entropies = unigrams(corpus);
  for (std::size_t s = 0; s < 3; ++s) {
    const Split split = kSplits[s];
    splits[split_text(split)] = {{"bytes", bytes_of(corpus, split)},
                                 {"documents", corpus.documents(split)},
                                 {"segments", segments_of(corpus, split)},
                                 {"tokens", corpus.size(split)},
                                 {"bytes_per_token", or_null(corpus.bytes_per_token(split))}};
    for (std::size_t under = 0; under < 3; ++under)
      nats[split_text(split)][split_text(kSplits[under])] = entropies[s][under];
  }
  return {{"source", source},
          {"description", corpus.describe()},
          {"vocab", corpus.vocab()},
          {"hash", corpus.hash()},
          {"tokenizer", corpus.tokenizer() ? Json(corpus.tokenizer()->source()) : Json()},
          {"splits", splits},
          {"unigram_cross_entropy", nats}};
}

struct InfoOptions {
  std::string source, tokenizer;
  bool json = false;
};

int run_info(const InfoOptions& options) {
  const std::shared_ptr<const Corpus> corpus = Corpus::open(options.source, options.tokenizer);
  if (options.json) {
    print_out(
        info_json(*corpus, options.source).dump(2, ' ', false, Json::error_handler_t::replace) +
        "\n");
    return 0;
  }
  print_out(fmt::format("{}\nvocabulary {}, hash {}\n", printable(corpus->describe()),
                        corpus->vocab(), corpus->hash()));
  Table table;
  table.columns = {{"split"},    {"bytes"},  {"documents"},
                   {"segments"}, {"tokens"}, {"bytes_per_token", Style::Ratio}};
  for (const Split split : kSplits)
    table.rows.push_back({split_text(split), bytes_of(*corpus, split), corpus->documents(split),
                          segments_of(*corpus, split), corpus->size(split),
                          or_null(corpus->bytes_per_token(split))});
  print_out(render(table, "table"));
  Table check;
  check.columns = {{"of"},
                   {"under_train", Style::Loss},
                   {"under_validation", Style::Loss},
                   {"under_test", Style::Loss}};
  const auto nats = unigrams(*corpus);
  for (std::size_t s = 0; s < 3; ++s)
    check.rows.push_back({split_text(kSplits[s]), nats[s][0], nats[s][1], nats[s][2]});
  print_out(
      "\nnats per token of a split under the token frequencies (one added to each count) of "
      "another:\n" +
      render(check, "table"));
  return 0;
}

Run describe_info(Args& args) {
  auto options = std::make_shared<InfoOptions>();
  args.example("moebius data info my.txt");
  args.positional("SOURCE", options->source, true,
                  "a text file, JSONL, a directory, an llm.c .bin, or builtin");
  args.option("--tokenizer FILE", options->tokenizer, "SentencePiece model; bytes when left out");
  args.flag("--json", options->json, "as JSON");
  return [options] { return run_info(*options); };
}

}  // namespace

Command commands_data() {
  return {"what is trained on: prepares token files, describes a corpus", [](Args& args) -> Run {
            args.example("moebius data info my.txt");
            args.subcommand("prepare", "cuts text into token files that open at once",
                            describe_prepare);
            args.subcommand("info", "splits, tokens and hash of a corpus", describe_info);
            return nullptr;
          }};
}

}  // namespace moebius
