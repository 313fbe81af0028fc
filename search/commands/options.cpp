#include "search/commands/options.h"

#include <algorithm>
#include <charconv>
#include <filesystem>

#include "model/schedule.h"
#include "space/base/log.h"
#include "space/base/units.h"

namespace moebius {
namespace {

const std::string kDefaultDb = DbOptions{}.db;

std::string study_names(const std::vector<StudyRow>& studies) {
  std::vector<std::string> names;
  for (const StudyRow& study : studies) names.push_back(study.settings.name);
  if (names.size() > 10) names.resize(10);
  return join(names, ", ");
}

bool is_memory(const std::string& db) { return db.starts_with("memory:"); }

std::string path_of(const std::string& db) {
  for (const std::string prefix : {"sqlite:///", "sqlite:"})
    if (db.starts_with(prefix)) return db.substr(prefix.size());
  return db;
}

Json block_document(const std::string& file, Json& provenance) {
  Json document = load_json(file);
  if (!document.is_object()) return document;
  if (document.contains("provenance")) provenance = document["provenance"];
  document.erase("provenance");
  document.erase("name");
  return document;
}

Recipe file_recipe(const Json& provenance, const std::string& file) {
  if (!provenance.is_object() || !provenance.contains("recipe")) return Recipe();
  Problems problems(file);
  const Recipe recipe = read_recipe(Reader(provenance["recipe"], "/provenance/recipe", problems));
  problems.raise();
  return recipe;
}

}  // namespace

void describe(Args& args, DbOptions& options) {
  args.option("--db PATH|URL", options.db, "results database");
  args.option("--study NAME", options.study, "study in it; the newest when left out");
}

std::string flags(const DbOptions& options) {
  std::string text;
  if (options.db != kDefaultDb) text += " --db " + shell_quoted(options.db);
  if (!options.study.empty()) text += " --study " + shell_quoted(options.study);
  return text;
}

std::unique_ptr<ResultsDb> open_existing(const DbOptions& options, OpenMode mode) {
  const std::string path = path_of(options.db);
  if (!is_memory(options.db) && !std::filesystem::exists(path))
    bad_input("--db", "there is no database; make one with 'moebius search' or 'moebius demo'", "",
              path);
  return open_db(options.db, mode);
}

StudyRow pick_study(ResultsDb& db, DbOptions& options) {
  if (!options.study.empty())
    if (std::optional<StudyRow> row = db.find_study(options.study)) return *row;
  const std::vector<StudyRow> studies = db.studies();
  if (!options.study.empty())
    bad_input("--study", "no such study in " + options.db, study_names(studies), options.study);
  if (studies.empty()) bad_input("--db", "there is no study in it", "", options.db);
  const auto newest = std::max_element(
      studies.begin(), studies.end(),
      [](const StudyRow& left, const StudyRow& right) { return left.id < right.id; });
  options.study = newest->settings.name;
  if (studies.size() > 1) info("study {} (the newest of {})", options.study, studies.size());
  return *newest;
}

const Trial& pick_trial(const History& history, const std::string& number) {
  std::int64_t value = -1;
  const char* end = number.data() + number.size();
  const auto [rest, error] = std::from_chars(number.data(), end, value);
  const Trial* trial = error == std::errc() && rest == end ? history.find(value) : nullptr;
  if (trial != nullptr) return *trial;
  const std::size_t count = history.trials().size();
  bad_input("TRIAL", "no such trial", count == 0 ? "none yet" : fmt::format("0..{}", count - 1),
            number);
}

std::string files_of(const DbOptions& options) {
  if (is_memory(options.db)) return "";
  std::filesystem::path path = std::filesystem::absolute(path_of(options.db));
  return path.replace_extension(".files") / options.study;
}

void describe(Args& args, DataOptions& options) {
  args.option("--data FILE|DIR|builtin", options.data,
              "text, JSONL, a directory of either, an llm.c .bin, or the built-in generator");
  args.option("--tokenizer FILE", options.tokenizer, "SentencePiece model; bytes when left out");
  args.option("--threads N", options.threads, 1, 256, "threads of one trial");
  args.option("--memory SIZE", options.memory,
              "limit for all trials, as in 20GiB; default: free memory");
}

void describe_parallel(Args& args, DataOptions& options) {
  describe(args, options);
  args.option("--workers N", options.workers, 1, 64, "trials at the same time");
}

EvaluatorOptions evaluator_options(const DataOptions& options, const Recipe& recipe) {
  EvaluatorOptions result;
  result.data = options.data;
  result.tokenizer = options.tokenizer;
  result.vocab = options.vocab;
  result.threads = static_cast<int>(options.threads);
  result.precision = recipe.precision;
  result.catalog = &builtin_catalog();
  if (!options.memory.empty() &&
      (!parse_bytes(options.memory, result.memory_limit) || result.memory_limit <= 0))
    bad_input("--memory", "must be a size", "such as 512MiB or 20GiB", options.memory);
  return result;
}

void describe(Args& args, RecipeOptions& options) {
  args.option("--batch N", options.batch, 1, 1 << 16, "recipe: sequences of one step");
  args.option("--seq N", options.seq, 2, 1 << 16, "recipe: tokens of one sequence");
  args.option("--micro-batch N", options.micro_batch, 1, 1 << 16,
              "recipe: sequences of one forward and backward pass");
  args.choice("--optimizer", options.optimizer, builtin_catalog().optimizers.names(),
              "recipe: optimizer");
  args.option("--lr X", options.lr, 1e-9, 10, "recipe: learning rate, of every family");
  args.choice("--schedule", options.schedule, schedule_names(), "recipe: learning-rate schedule");
  args.option("--warmup X", options.warmup, 0, 1, "recipe: fraction of the budget");
  args.option("--decay X", options.decay, 0, 1, "recipe: fraction of the budget");
  args.option("--weight-decay X", options.weight_decay, 0, 10, "recipe: decoupled weight decay");
  args.option("--clip X", options.clip, 0, 1e6, "recipe: gradient norm; 0 = off");
  args.option("--aux X", options.aux, 0, 10, "recipe: weight of the load-balance loss");
  args.option("--z X", options.z, 0, 10, "recipe: weight of the router z-loss");
  args.option("--eval-tokens N", options.eval_tokens, 1, std::int64_t{1} << 40,
              "recipe: tokens of the final evaluation");
  args.choice("--precision", options.precision, {"auto", "fp32", "bf16"},
              "recipe: precision of products");
}

Recipe apply(const RecipeOptions& options, Recipe base) {
  const auto replace = [](auto& field, const auto& value, bool given) {
    if (given) field = value;
  };
  const bool whole = base.micro_batch == base.batch;
  replace(base.batch, options.batch, options.batch > 0);
  replace(base.seq, options.seq, options.seq > 0);
  if (whole || base.batch % base.micro_batch != 0) base.micro_batch = base.batch;
  replace(base.micro_batch, options.micro_batch, options.micro_batch > 0);
  replace(base.eval_tokens, options.eval_tokens, options.eval_tokens > 0);
  replace(base.optimizer, options.optimizer, !options.optimizer.empty());
  replace(base.schedule, options.schedule, !options.schedule.empty());
  replace(base.precision, options.precision, !options.precision.empty());
  replace(base.warmup, options.warmup, options.warmup >= 0);
  replace(base.decay, options.decay, options.decay >= 0);
  replace(base.weight_decay, options.weight_decay, options.weight_decay >= 0);
  replace(base.clip, options.clip, options.clip >= 0);
  replace(base.aux, options.aux, options.aux >= 0);
  replace(base.z, options.z, options.z >= 0);
  for (auto& rate : base.lr) replace(rate.second, options.lr, options.lr > 0);
  // The reader checks what fields promise each other (micro_batch divides batch, known names).
  const Json document = to_json(base);
  Problems problems("recipe");
  const Recipe checked = read_recipe(Reader(document, "", problems));
  problems.raise();
  return checked;
}

Block load_block(const std::string& name_or_file) {
  Block block;
  std::string base, scale_name;
  const bool scaled = split_baseline(name_or_file, base, scale_name);
  if (scaled || !std::filesystem::exists(name_or_file)) {
    block.name = name_or_file;
    block.spec = baseline(name_or_file, layer_types());
    if (scaled) block.scale = scale(scale_name);
    if (scaled) block.recipe = default_recipe(*block.scale);
    return block;
  }
  std::filesystem::path file = name_or_file;
  if (std::filesystem::is_directory(file)) file /= "block.json";
  block.name = file.stem();
  block.spec = read_spec(block_document(file, block.provenance), file, layer_types());
  block.recipe = file_recipe(block.provenance, file);
  return block;
}

Recipe default_recipe(const Scale& scale) {
  const std::vector<std::string> presets = space_presets();
  const std::string preset = "brainformer-" + scale.name;
  if (std::find(presets.begin(), presets.end(), preset) != presets.end())
    return load_space(preset, layer_types()).recipe();
  Recipe recipe;
  recipe.batch = recipe.micro_batch = scale.batch;
  recipe.seq = scale.seq;
  recipe.lr_width = static_cast<double>(scale.d_model);
  return recipe;
}

void check_recipe(const Recipe& recipe) {
  builtin_catalog().optimizers.get(recipe.optimizer);
  schedule(recipe, 0, 1);
}

const LayerTypes& layer_types() { return builtin_catalog().types; }

}  // namespace moebius
