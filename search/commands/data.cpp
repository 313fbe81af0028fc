#include "evaluator/corpus/corpus.h"

#include <algorithm>
#include <cmath>

#include "evaluator/corpus/prepare.h"
#include "evaluator/corpus/tokenizer.h"
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
              "train a SentencePiece model of N pieces on the source");
  return [options] { return run_prepare(*options); };
}

Json info_json(const Corpus& corpus, const std::string& source) {
  Json splits = Json::object();
  for (const Split split : kSplits)
    splits[split_text(split)] = {{"tokens", corpus.size(split)},
                                 {"documents", corpus.documents(split)},
                                 {"bytes_per_token", corpus.bytes_per_token(split)}};
  return {{"source", source},
          {"description", corpus.describe()},
          {"vocab", corpus.vocab()},
          {"hash", corpus.hash()},
          {"tokenizer", corpus.tokenizer() ? Json(corpus.tokenizer()->source()) : Json()},
          {"splits", splits}};
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
  table.columns = {{"split"}, {"documents"}, {"tokens"}, {"bytes_per_token", Style::Ratio}};
  for (const Split split : kSplits)
    table.rows.push_back({split_text(split), corpus->documents(split), corpus->size(split),
                          or_null(corpus->bytes_per_token(split))});
  print_out(render(table, "table"));
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
