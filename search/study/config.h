#pragma once
#include <concepts>
#include <cstdint>
#include <string>
#include <vector>

#include "evaluator/training/budget.h"
#include "search/study/baseline.h"
#include "search/study/config_field.h"

namespace moebius {

// The version of the rules that shape results: splits, the ranked mode, balance losses, statistics.
// Figures made under different rules are not compared: a study of others is read, never continued.
inline constexpr std::int64_t kRules = 2;

// The evaluator of studies that `ask` and `tell` drive.
inline constexpr char kElsewhere[] = "external";

// All that shapes a study's results, settled when it is made. Initial values hold unless said.
struct StudyConfig {
  std::string name;
  std::int64_t rules = kRules;
  Space space;
  Recipe recipe;
  Budget budget{Budget::Unit::Cpu, 20, ""};
  std::int64_t trials = 100;  // search trials wanted; a study may go on with more
  std::int64_t confirm = 1;   // best blocks that get fresh seeds when the search has ended
  std::int64_t seed = 1, lag = 4;
  std::string sampler = "evolution";
  Fields sampler_options;  // of studies that say nothing: the plug-in's, by `trials`
  std::string evaluator = "proxy", command;
  double timeout = 0;  // seconds of one trial; 0 = none
  std::string backend = "cpu";
  std::string precision;   // of products: "fp32" or "bf16"; "" = as the recipe says
  std::int64_t vocab = 0;  // V; 0 = the corpus'
  std::string data, tokenizer, data_hash;
  std::string stopper = "quarter";
  Fields stopper_options;
  std::vector<Baseline> baselines;
  std::int64_t baseline_seeds = 1;  // seeds of each baseline
  std::vector<Spec> seeds;          // first search trials, in order
  // Whose recipe constraints are judged under: the study's, or the space's ("space").
  std::string constraints = "study";
};

// visit(field, value) for every field but the name, the space and the recipe, in the order in which
// options are listed. JSON, options and differences between studies are made from this list.
template <class Config, class Visit>
requires std::same_as<std::remove_const_t<Config>, StudyConfig>
void for_each_field(Config& config, Visit&& visit) {
  using F = ConfigField;
  visit(F{.key = "rules", .option = "--study", .absent = 1}, config.rules);
  visit(F{"trials", "--trials N", "search trials of the study", 0, 1'000'000, false},
        config.trials);
  visit(F{"confirm", "--confirm K",
          "when the search has ended, train its K best blocks with 3 fresh seeds and each baseline "
          "with as many; 0 = none",
          0, 1000, false, 0},
        config.confirm);
  visit(F{"budget", "--budget BUDGET",
          "of each trial: 500steps, 300ktok, 2e12flop, 20s (CPU), 20s:wall"},
        config.budget);
  visit(F{"seed", "--seed N", "of the study", 0, 0x1p62}, config.seed);
  visit(F{.key = "sampler",
          .option = "--sampler",
          .help = "who proposes blocks",
          .words = sampler_names},
        config.sampler);
  visit(F{"sampler_options", "--sampler-option"}, config.sampler_options);
  visit(F{"lag", "--lag N",
          "a proposal sees the results of trials this far back; at least "
          "--workers",
          1, 1024},
        config.lag);
  visit(F{.key = "evaluator",
          .option = "--evaluator",
          .help = "who judges blocks",
          .words = evaluator_names},
        config.evaluator);
  visit(F{"command", "--command PROGRAM", "the trainer of --evaluator command"}, config.command);
  visit(F{"timeout", "--timeout SECONDS", "wall time after which --command has failed; 0 = none", 0,
          1e9},
        config.timeout);
  visit(F{.key = "backend",
          .option = "--backend",
          .help = "what trials are computed with",
          .words = backend_names},
        config.backend);
  visit(F{"precision", "--precision"}, config.precision);
  visit(F{"vocab", "--vocab N",
          "rows of the embedding table: the corpus' when left out, 256 with --command", 1, 1 << 24},
        config.vocab);
  visit(F{.key = "data", .option = "--data", .compared = false}, config.data);
  visit(F{.key = "tokenizer", .option = "--tokenizer", .compared = false}, config.tokenizer);
  visit(F{"data_hash", "--data"}, config.data_hash);
  visit(F{"baselines", "--baseline"}, config.baselines);
  visit(F{"baseline_seeds", "--baseline-seeds N", "seeds of each baseline", 1, 100},
        config.baseline_seeds);
  visit(F{"seeds", "--seed-from"}, config.seeds);
  visit(F{.key = "stopper",
          .option = "--stopper",
          .help = "who ends trials early",
          .words = stopper_names},
        config.stopper);
  visit(F{"stopper_options", "--stopper-option"}, config.stopper_options);
  visit(F{.key = "constraints", .option = "", .absent = "space"}, config.constraints);
}

}  // namespace moebius
