#include "search/commands/options.h"

#include <algorithm>
#include <charconv>
#include <filesystem>

#include "model/schedule.h"
#include "search/results/store.h"
#include "search/study/config.h"
#include "search/study/stored.h"
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

Json block_document(const std::string& file, Json& provenance) {
  Json document = load_json(file);
  if (!document.is_object()) return document;
  if (document.contains("provenance")) provenance = document["provenance"];
  document.erase("provenance");
  document.erase("name");
  return document;
}

Recipe file_recipe(const Json& provenance, const std::string& file) {
  if (!provenance.is_object() || !provenance.contains("recipe"))
    return default_recipe(layer_types());
  return read_recipe(provenance["recipe"], file + ":/provenance");
}

template <class T>
Field::Kind kind_of(const T&, const std::vector<std::string>& words) {
  if constexpr (std::same_as<T, std::int64_t>) return Field::Kind::Integer;
  if constexpr (std::same_as<T, std::string> || std::same_as<T, Budget>)
    return words.empty() ? Field::Kind::Text : Field::Kind::Choice;
  return Field::Kind::Number;
}

// What help shows: the value a study has without the option, where that is one.
std::optional<Value> shown_default(const Field& field, std::int64_t value) {
  const auto number = static_cast<double>(value);
  return number < field.low || number > field.high ? std::nullopt : std::optional<Value>(value);
}
std::optional<Value> shown_default(const Field&, double value) { return value; }
std::optional<Value> shown_default(const Field&, const std::string& value) {
  return value.empty() ? std::nullopt : std::optional<Value>(value);
}
std::optional<Value> shown_default(const Field&, const Budget& value) { return to_string(value); }
template <class List>
std::optional<Value> shown_default(const Field&, const List&) {
  return std::nullopt;
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
  if (!db_exists(options.db))
    bad_input("--db", "there is no database; make one with 'moebius search' or 'moebius demo'", "",
              printable(parse_db_url(options.db).place));
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

StudyWords study_words(const StudyRow& study, const DbOptions& db) {
  return {study.settings.options.value("budget", to_string(StudyConfig().budget)), flags(db)};
}

const Trial& pick_trial(const History& history, const std::string& number) {
  std::int64_t value = -1;
  const char* end = number.data() + number.size();
  const auto [rest, error] = std::from_chars(number.data(), end, value);
  const Trial* trial = error == std::errc() && rest == end ? history.find(value) : nullptr;
  if (trial != nullptr) return *trial;
  const std::int64_t count = history.size();
  bad_input("TRIAL", "no such trial", count == 0 ? "none yet" : fmt::format("0..{}", count - 1),
            number);
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
  result.backend = options.backend;
  result.catalog = &builtin_catalog();
  if (!options.memory.empty() &&
      (!parse_bytes(options.memory, result.memory_limit) || result.memory_limit <= 0))
    bad_input("--memory", "must be a size", "such as 512MiB or 20GiB", options.memory);
  return result;
}

void describe_backend(Args& args, std::string& backend) {
  args.choice("--backend", backend, builtin_catalog().backends.names(), "what computes");
}

void describe_recipe(Args& args, Fields& given) {
  const Recipe any;
  for_each_field(any, [&](const RecipeField& field, const auto& value) {
    Field described{.name = field.key, .low = field.low, .high = field.high};
    described.help = "recipe: " + field.help;
    described.choices = field.words;
    if (field.key == "optimizer") described.choices = builtin_catalog().optimizers.names();
    if (field.key == "schedule") described.choices = schedule_names();
    described.kind = kind_of(value, described.choices);
    const char* word = described.kind == Field::Kind::Integer  ? " N"
                       : described.kind == Field::Kind::Number ? " X"
                                                               : "";
    args.option(recipe_option(field.key) + word, described,
                [&given, key = field.key](const Value& typed) { given[key] = typed; });
  });
}

void describe_study(Args& args, Fields& given, const std::vector<std::string>& without) {
  const StudyConfig fresh;
  for_each_field(fresh, [&](const ConfigField& field, const auto& value) {
    if (field.help.empty() || std::find(without.begin(), without.end(), field.key) != without.end())
      return;
    Field described{.name = field.key, .low = field.low, .high = field.high, .help = field.help};
    if (field.words != nullptr) described.choices = field.words();
    described.kind = kind_of(value, described.choices);
    if (const std::optional<Value> initial = shown_default(described, value))
      described.fallback = {*initial};
    args.option(field.option, described,
                [&given, key = field.key](const Value& typed) { given[key] = typed; });
  });
}

Block load_block(const std::string& name_or_file) {
  Block block;
  const auto scaled = split_baseline(name_or_file);
  if (scaled || !std::filesystem::exists(name_or_file)) {
    block.name = name_or_file;
    block.spec = baseline(name_or_file, layer_types());
    if (scaled) block.scale = scale(scaled->scale);
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
  Recipe recipe = default_recipe(layer_types());
  recipe.batch = recipe.micro_batch = scale.batch;
  recipe.seq = scale.seq;
  recipe.lr_width = static_cast<double>(scale.d_model);
  return recipe;
}

std::string gap_line(double loss, double native_loss) {
  return fmt::format("gap {:+.4f} nats: native loss {:.4f} (training routing) minus loss\n",
                     native_loss - loss, native_loss);
}

const LayerTypes& layer_types() { return builtin_catalog().types; }

}  // namespace moebius
