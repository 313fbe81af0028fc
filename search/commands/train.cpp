#include <sys/resource.h>
#include <unistd.h>

#include <chrono>
#include <cmath>
#include <filesystem>

#include "search/commands/options.h"
#include "search/commands/progress.h"
#include "search/exporters/exporter.h"
#include "search/report/table.h"
#include "space/base/atomic_file.h"
#include "space/base/log.h"
#include "space/base/memory.h"
#include "space/base/units.h"

namespace moebius {
namespace {

namespace fs = std::filesystem;

struct Options {
  std::string block, out, budget, tokens, iso_flops;
  DataOptions data;
  Fields recipe;
  std::int64_t steps = 0, seed = 1;
  double checkpoint_every = 300;
  bool no_weights = false;
};

// --steps, --tokens or --budget; they say the same thing in three ways.
Budget budget_of(const Options& options) {
  const int given = (options.steps > 0) + !options.tokens.empty() + !options.budget.empty();
  if (given != 1)
    bad_input("--budget", "give exactly one of --budget, --tokens and --steps", "",
              std::to_string(given));
  if (options.steps > 0) return parse_budget(fmt::format("{}steps", options.steps));
  return parse_budget(options.tokens.empty() ? options.budget : options.tokens + "tok");
}

// One line every few seconds, or one line that is redrawn.
class Talk : public Observer {
 public:
  bool stop() override { return stop_requested(); }
  std::string point(const CurvePoint& point, std::int64_t of_steps) override {
    if (log_level() >= LogLevel::Info) show(point, of_steps);
    return "";
  }

 private:
  void show(const CurvePoint& point, std::int64_t of_steps) {
    const auto now = std::chrono::steady_clock::now();
    if (now - last_ < std::chrono::milliseconds(live_ ? 200 : 5000) && point.step < of_steps)
      return;
    last_ = now;
    const double fraction = static_cast<double>(point.step) / static_cast<double>(of_steps);
    const std::string valid =
        std::isfinite(point.valid_loss) ? fmt::format(", validation {:.4f}", point.valid_loss) : "";
    fmt::print(stderr, "{}[{}] step {}/{}, loss {:.4f}{}{}", live_ ? "\r\x1b[K" : "",
               bar(fraction, 20), point.step, of_steps, point.train_loss, valid,
               live_ && point.step < of_steps ? "" : "\n");
  }

  const bool live_ = isatty(STDERR_FILENO) != 0;
  std::chrono::steady_clock::time_point last_;
};

std::int64_t peak_resident() {
  rusage usage{};
  getrusage(RUSAGE_SELF, &usage);
  return std::int64_t{usage.ru_maxrss} * 1024;
}

std::string curve_lines(const std::vector<CurvePoint>& curve) {
  std::string text;
  for (const CurvePoint& point : curve)
    text += Json({{"step", point.step},
                  {"train_loss", or_null(point.train_loss)},
                  {"valid_loss", or_null(point.valid_loss)},
                  {"cpu_seconds", point.cpu_seconds}})
                .dump() +
            "\n";
  return text;
}

// A folder that holds another run is not trained into.
void check_folder(const fs::path& folder, const Json& run) {
  if (fs::exists(folder) && !fs::is_directory(folder))
    bad_input("--out", "is not a directory", "", folder);
  const fs::path file = folder / "run.json";
  if (!fs::exists(file)) return;
  const std::vector<std::string> differences = diff(load_json(file), run);
  if (!differences.empty())
    bad_input("--out", "holds another run: " + differences.front(), "an empty or new directory",
              folder);
}

void write_block(const fs::path& folder, const Block& block, const Candidate& candidate,
                 const Json& provenance) {
  ExportSubject subject{block.spec, candidate.recipe, provenance, "block"};
  exporters().get("json").write(subject, folder, true);
}

int report(const Outcome& outcome, const fs::path& folder, std::int64_t announced) {
  const Measurement& m = outcome.measurement;
  if (outcome.ending == Ending::Stopped) {
    log_line(LogLevel::Quiet,
             fmt::format("stopped at step {}; resume with: {}", m.steps, command_line()));
    return 128 + stop_signal();
  }
  if (outcome.ending != Ending::Done)
    throw Error(Exit::NoUsableTrial, ending_text(outcome.ending) + ": " + outcome.message);
  print_out(fmt::format("validation loss {:.4f} nats per token, {:.4f} bits per byte; causal {}\n",
                        m.loss, m.bits_per_byte, m.causal));
  if (m.native_loss != m.loss) print_out(gap_line(m.loss, m.native_loss));
  print_out(fmt::format("{} steps, {} tokens, {:.2f} tokens per active parameter, {} a step\n",
                        m.steps, count_text(static_cast<double>(m.tokens)),
                        m.tokens_per_active_parameter, seconds_text(m.step_seconds)));
  const std::int64_t resident = peak_resident();
  print_out(fmt::format(
      "peak memory {}, announced {} ({:+.1f} %)\n", bytes_text(resident), bytes_text(announced),
      100 * (static_cast<double>(resident) / static_cast<double>(announced) - 1)));
  print_out(fmt::format("next: moebius sample {}\n", shell_quoted(folder.string())));
  return 0;
}

// Wide enough to cost a token what it costs in the block `like`.
void match_flops(Block& block, const std::string& like, const Recipe& recipe) {
  if (like.empty()) return;
  const TokenShape shape{recipe.micro_batch, recipe.seq, block.spec.d_model};
  const double target = active_flops(load_block(like).spec, layer_types(), shape);
  block.spec = iso_flops(block.spec, target, layer_types(), shape);
}

int run(const Options& options) {
  Block block = load_block(options.block);
  Candidate candidate;
  candidate.recipe = changed(block.recipe, options.recipe);
  match_flops(block, options.iso_flops, candidate.recipe);
  candidate.spec = block.spec;
  candidate.budget = budget_of(options);
  candidate.seed = static_cast<std::uint64_t>(options.seed);
  EvaluatorOptions evaluator_request = evaluator_options(options.data, candidate.recipe);
  const auto evaluator = evaluators().get("proxy").make(evaluator_request);
  evaluator->check(candidate.recipe);
  if (const std::string why = why_illegal(candidate.spec, layer_types(), candidate.recipe);
      !why.empty())
    bad_input(options.block, why);

  const fs::path folder = options.out;
  Json provenance = {{"block", block.name},
                     {"budget", to_string(candidate.budget)},
                     {"seed", options.seed},
                     {"data_hash", evaluator->data_hash()},
                     {"vocab", evaluator->vocab()}};
  if (!options.iso_flops.empty()) provenance["iso_flops"] = options.iso_flops;
  Json identity = provenance;
  identity["spec_hash"] = spec_hash(candidate.spec);
  identity["recipe"] = to_json(candidate.recipe);
  check_folder(folder, identity);
  candidate.checkpoint = folder / "resume.safetensors";
  candidate.checkpoint_seconds = options.checkpoint_every;
  // A run that was killed at its very end has both: it has not told its results yet.
  if (fs::exists(folder / "model.safetensors") && !fs::exists(candidate.checkpoint)) {
    info("{} is trained already; nothing to do", folder.string());
    return 0;
  }
  const Prepared prepared = evaluator->prepare(candidate);
  // The program and the corpus are in memory already.
  const std::int64_t announced = peak_resident() + prepared.peak_bytes;
  info("{}: {}, {} parameters; {}; needs {} of {} free", block.name,
       notation(block.spec, layer_types()),
       count_text(static_cast<double>(prepared.cost.parameters)), to_string(candidate.budget),
       bytes_text(announced), bytes_text(free_memory()));
  if (!options.no_weights) candidate.keep_weights = folder / "model.safetensors";
  write_block(folder, block, candidate, provenance);
  write_file(folder / "run.json", identity.dump(2) + "\n");

  install_stop_signals();
  Talk talk;
  const Outcome outcome = evaluator->evaluate(candidate, prepared, talk);
  write_file(folder / "train.jsonl", curve_lines(outcome.curve));
  return report(outcome, folder, announced);
}

}  // namespace

Command commands_train() {
  return {
      "trains one block or baseline; run it again to resume",
      [](Args& args) -> std::function<int()> {
        auto options = std::make_shared<Options>();
        args.example("moebius train dense-micro --data my.txt --tokens 1.6M -o runs/dense-micro");
        args.example("moebius train exports/first-t12.json --data my.txt --budget 60s -o runs/t12");
        args.positional("BLOCK", options->block, true, "a baseline (glam-nano) or a block file");
        args.option("-o,--out DIR", options->out,
                    "checkpoint folder: block.json, model.safetensors, train.jsonl");
        args.required("--out");
        args.option("--budget BUDGET", options->budget, "as in search");
        args.option("--tokens N", options->tokens, "tokens to train on, as in 1.6M");
        args.option("--steps N", options->steps, 1, std::int64_t{1} << 40, "optimizer steps");
        args.option("--seed N", options->seed, 0, std::int64_t{1} << 62, "of weights and batches");
        describe(args, options->data);
        args.option("--iso-flops BLOCK", options->iso_flops,
                    "hidden widths re-solved for the active FLOPs per token of this block");
        args.option("--vocab N", options->data.vocab, 1, 1 << 24,
                    "rows of the embedding table, at least the corpus' vocabulary");
        args.option("--checkpoint-every SECONDS", options->checkpoint_every, 0, 1e9,
                    "of training, from one checkpoint to resume from to the next");
        args.flag("--no-weights", options->no_weights, "keep no model.safetensors");
        describe_backend(args, options->data.backend);
        describe_recipe(args, options->recipe);
        return [options] { return run(*options); };
      }};
}

}  // namespace moebius
