#include <unistd.h>

#include <algorithm>
#include <cmath>
#include <span>

#include "evaluator/corpus/tokenizer.h"
#include "search/commands/checkpoint_model.h"
#include "search/report/table.h"
#include "space/base/rng.h"

namespace moebius {
namespace {

struct Options {
  DbOptions db;
  std::string checkpoint, prompt, tokenizer, backend = "cpu";
  std::int64_t tokens = 200, seed = 1, threads = 1;
  double temperature = 1;
};

// The token that `uniform` picks from softmax(logits / temperature); the largest at 0.
std::int32_t pick(std::span<const double> logits, double temperature, double uniform) {
  const auto largest = std::max_element(logits.begin(), logits.end());
  if (temperature == 0) return static_cast<std::int32_t>(largest - logits.begin());
  std::vector<double> weights;
  double total = 0;
  for (const double logit : logits) {
    weights.push_back(std::exp((logit - *largest) / temperature));
    total += weights.back();
  }
  double left = uniform * total;
  for (std::size_t i = 0; i < weights.size(); ++i)
    if ((left -= weights[i]) < 0) return static_cast<std::int32_t>(i);
  return static_cast<std::int32_t>(largest - logits.begin());
}

// Token by token, everything computed again: the last S tokens fill every row of the batch from the
// left; what stands behind them cannot be seen (causal mode).
std::vector<std::int32_t> continuation(CheckpointModel& model, std::vector<std::int32_t> text,
                                       std::int64_t vocab, const Options& options) {
  const auto seq = static_cast<std::size_t>(model.recipe.seq);
  const Rng random(static_cast<std::uint64_t>(options.seed));
  const std::size_t begin = text.size();
  for (std::int64_t i = 0; i < options.tokens; ++i) {
    const std::size_t known = std::min(text.size(), seq);
    std::vector<std::int32_t> window(text.end() - static_cast<std::ptrdiff_t>(known), text.end());
    window.resize(seq, 0);
    std::vector<std::int32_t> batch;
    for (std::int64_t row = 0; row < model.recipe.micro_batch; ++row)
      batch.insert(batch.end(), window.begin(), window.end());
    const std::vector<double> logits = model.learner->logits(batch, Mode::Causal);
    const std::size_t width = logits.size() / batch.size();
    const std::span<const double> next(logits.data() + (known - 1) * width,
                                       static_cast<std::size_t>(vocab));
    Rng stream = random.split("sample", static_cast<std::uint64_t>(i));
    text.push_back(pick(next, options.temperature, stream.uniform()));
  }
  return {text.begin() + static_cast<std::ptrdiff_t>(begin), text.end()};
}

// A model may say anything; a terminal should not obey it.
std::string shown(const std::string& text) {
  if (isatty(STDOUT_FILENO) == 0) return text;
  std::string result, line;
  for (const char c : text) {
    if (c != '\n') {
      line += c;
      continue;
    }
    result += printable(line) + "\n";
    line.clear();
  }
  return result + printable(line);
}

int run(const Options& options) {
  CheckpointModel model = load_model(options.checkpoint, options.db, options.backend,
                                     static_cast<int>(options.threads), true);
  const std::shared_ptr<const Tokenizer> tokenizer =
      open_tokenizer(tokenizer_of(model.tokenizer, options.tokenizer));
  const std::int64_t vocab = tokenizer->vocab();
  if (vocab > model.vocab)
    bad_input("--tokenizer", "has more tokens than the model",
              fmt::format("at most {}", model.vocab), std::to_string(vocab));
  std::vector<std::int32_t> prompt =
      tokenizer->encode(options.prompt.empty() ? "\n" : options.prompt);
  if (prompt.empty()) prompt.push_back(0);  // some tokenizers drop white space
  const std::vector<std::int32_t> text = continuation(model, prompt, vocab, options);
  print_out(shown(options.prompt + tokenizer->decode(text)) + "\n");
  return 0;
}

}  // namespace

Command commands_sample() {
  return {"continues a text with a checkpoint", [](Args& args) -> std::function<int()> {
            auto options = std::make_shared<Options>();
            args.example("moebius sample runs/dense-micro --prompt 'ROMEO:' --tokens 200");
            args.positional("CHECKPOINT", options->checkpoint, true,
                            "the folder that train wrote, a weights file, or a trial's number");
            args.option("--prompt TEXT", options->prompt,
                        "text to continue; a new line when left out");
            args.option("--tokens N", options->tokens, 1, 100'000, "tokens to add");
            args.option("--temperature X", options->temperature, 0, 100, "0 = the likeliest token");
            args.option("--seed N", options->seed, 0, std::int64_t{1} << 62, "of the draws");
            args.option("--tokenizer FILE", options->tokenizer, "the model's own when left out");
            args.option("--threads N", options->threads, 1, 256, "threads");
            describe_backend(args, options->backend);
            describe(args, options->db);
            return [options] { return run(*options); };
          }};
}

}  // namespace moebius
