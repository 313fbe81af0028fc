#include <cmath>
#include <numbers>

#include "evaluator/corpus/tokenizer.h"
#include "evaluator/training/trainer.h"
#include "search/commands/checkpoint_model.h"
#include "search/report/table.h"

namespace moebius {
namespace {

struct Options {
  DbOptions db;
  std::string checkpoint, data, tokenizer, backend = "cpu";
  std::int64_t threads = 1, tokens = 0;
  bool final = false, json = false;
};

int run(const Options& options) {
  CheckpointModel model = load_model(options.checkpoint, options.db, options.backend,
                                     static_cast<int>(options.threads), false);
  const bool tokenized = options.data == "builtin" || options.data.ends_with(".bin");
  const std::shared_ptr<const Corpus> corpus =
      Corpus::open(options.data, tokenized ? options.tokenizer
                                           : tokenizer_of(model.tokenizer, options.tokenizer));
  if (corpus->vocab() > model.vocab)
    bad_input("--data", "has more tokens than the model", fmt::format("at most {}", model.vocab),
              std::to_string(corpus->vocab()));
  const Split split = options.final ? Split::Test : Split::Validation;
  if (options.tokens > 0) model.recipe.eval_tokens = options.tokens;
  check_windows(*corpus, split, model.recipe.batch, model.recipe.seq);
  const std::int64_t batches = evaluation_batches(*corpus, split, model.recipe);
  const auto loss_in = [&](Mode mode) {
    return mean_loss(*model.learner, *corpus, split, model.recipe, batches, mode);
  };
  const double loss = loss_in(Mode::Causal), native = loss_in(Mode::Native);
  const double floor = corpus->floor(split, model.recipe.batch, model.recipe.seq, batches);
  const double bits = loss / std::numbers::ln2 / corpus->bytes_per_token(split);
  const std::int64_t tokens = batches * model.recipe.batch * model.recipe.seq;
  if (options.json) {
    const Json result = {{"checkpoint", model.path},
                         {"split", split_text(split)},
                         {"tokens", tokens},
                         {"loss", or_null(loss)},
                         {"native_loss", or_null(native)},
                         {"gap", or_null(native - loss)},
                         {"bits_per_byte", or_null(bits)},
                         {"floor", or_null(floor)}};
    print_out(result.dump() + "\n");
    return 0;
  }
  print_out(
      fmt::format("{} on {} tokens of the {} split\nloss {:.4f} nats per token, {:.4f} bits "
                  "per byte, perplexity {:.3f}\n",
                  printable(model.path), tokens, split_text(split), loss, bits, std::exp(loss)));
  if (native != loss) print_out(gap_line(loss, native));
  if (std::isfinite(floor)) print_out(fmt::format("no model can be below {:.4f}\n", floor));
  return 0;
}

}  // namespace

Command commands_eval() {
  return {
      "the loss of a checkpoint on the validation split, or once, at the end, on the test split",
      [](Args& args) -> std::function<int()> {
        auto options = std::make_shared<Options>();
        args.example("moebius eval runs/dense-micro --data my.txt");
        args.positional("CHECKPOINT", options->checkpoint, true,
                        "the folder that train wrote, a weights file, or a trial's number");
        args.option("--data FILE|DIR|builtin", options->data, "as in training");
        args.required("--data");
        args.option("--tokenizer FILE", options->tokenizer, "the model's own when left out");
        args.flag("--final", options->final, "use the test split");
        args.option("--tokens N", options->tokens, 1, std::int64_t{1} << 40,
                    "at most; the recipe's eval_tokens when left out");
        args.option("--threads N", options->threads, 1, 256, "threads");
        describe_backend(args, options->backend);
        args.flag("--json", options->json, "as JSON");
        describe(args, options->db);
        return [options] { return run(*options); };
      }};
}

}  // namespace moebius
