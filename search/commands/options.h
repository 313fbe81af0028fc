#pragma once
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "search/commands/args.h"
#include "search/report/verdict.h"
#include "search/results/builtin_catalog.h"
#include "search/results/results_db.h"
#include "search/study/plugin_options.h"
#include "space/scale.h"
#include "space/space.h"

namespace moebius {

// Groups of options that several commands share, and what is made of them.

// --db, --study
struct DbOptions {
  std::string db = "runs/moebius.db";
  std::string study;
};
void describe(Args& args, DbOptions& options);
// " --db r.db --study first": what the next command to type needs; the default is left out.
std::string flags(const DbOptions& options);
// Opens for reading and settles options.study: the one named, or the newest (said on stderr when
// there are several). Error(BadInput) naming those there are.
std::unique_ptr<ResultsDb> open_existing(const DbOptions& options, OpenMode mode);
StudyRow pick_study(ResultsDb& db, DbOptions& options);
// "12" -> trial 12. Error(BadInput).
const Trial& pick_trial(const History& history, const std::string& number);

// --data, --tokenizer, --threads, --memory
struct DataOptions {
  std::string data, tokenizer, memory, backend = "cpu";
  std::int64_t threads = 1, vocab = 0;
  std::int64_t workers = 1;  // trials at the same time
};
void describe(Args& args, DataOptions& options);
// These and --workers.
void describe_parallel(Args& args, DataOptions& options);
EvaluatorOptions evaluator_options(const DataOptions& options, const Recipe& recipe);
// --backend; "cpu" when left out.
void describe_backend(Args& args, std::string& backend);

// --lr, --batch and the other fields of a recipe: those given, by key.
void describe_recipe(Args& args, Fields& given);
// The fields of a study that have an option, but for those in `without`: those given, by key.
void describe_study(Args& args, Fields& given, const std::vector<std::string>& without = {});

// Of --sampler-option and the like: what each plug-in takes.
template <class Plugin>
std::string option_help(const Registry<Plugin>& plugins) {
  std::vector<std::string> parts;
  for (const auto& [name, plugin] : plugins)
    if (!plugin.options.empty()) parts.push_back(name + ": " + describe_fields(plugin.options));
  return join(parts, "; ");
}

// A block that a user names: a baseline ("glam-nano"), or a moebius.block/1 file as export writes
// it, or the folder that train wrote.
struct Block {
  std::string name;  // "glam-nano", or the stem of the file
  Spec spec;
  Recipe recipe;
  Json provenance;             // of the file, or null
  std::optional<Scale> scale;  // of a baseline
};
Block load_block(const std::string& name_or_file);
// The recipe of the preset brainformer-SCALE; without one, B and S of the table's row.
Recipe default_recipe(const Scale& scale);

// How far the loss with the training routing is from the loss that ranks, as a line.
std::string gap_line(double loss, double native_loss);
// What verdicts name of a study.
StudyWords study_words(const StudyRow& study, const DbOptions& db);

const LayerTypes& layer_types();  // of the built-in catalog

}  // namespace moebius
