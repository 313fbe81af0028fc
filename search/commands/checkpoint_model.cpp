#include "search/commands/checkpoint_model.h"

#include <algorithm>
#include <charconv>
#include <filesystem>

#include "model/checkpoint.h"
#include "search/results/store.h"

namespace moebius {
namespace {

// Weights as the trial left them: the database knows the hash of the file, or, when it was made
// under schema 1, the result hash that stands in its metadata.
void check_hash(const std::string& path, const Artifact& artifact) {
  const std::string hash = file_hash(path);
  if (hash == artifact.hash) return;
  const SafetensorsFile file(path);
  const auto result = file.metadata().find("result_hash");
  if (result != file.metadata().end() && result->second == artifact.hash) return;
  throw Error(Exit::Storage,
              fmt::format("{}: is not what trial {} left: its hash is {}, the database has {}",
                          printable(path), artifact.number, hash, printable(artifact.hash)));
}

std::string kept_weights(const std::string& number, DbOptions& db) {
  const auto results = open_existing(db, OpenMode::ReadOnly);
  const StudyRow study = pick_study(*results, db);
  const History history = results->history(study.id);
  const Trial& trial = pick_trial(history, number);
  const StudyFiles files = study_files(db.db, *results, study);
  std::vector<std::string> kept;
  for (const Artifact& artifact : results->artifacts(study.id)) {
    if (artifact.kind != "weights") continue;
    kept.push_back(std::to_string(artifact.number));
    if (artifact.number != trial.number) continue;
    const std::string path = files.find(artifact);
    if (path.empty())
      throw Error(Exit::Storage,
                  fmt::format("{}: is not there, nor anywhere beside the database; keep the folder "
                              "of a study's files with it",
                              printable(files.folder() + "/" + artifact.path)));
    check_hash(path, artifact);
    return path;
  }
  bad_input("CHECKPOINT", "the weights of this trial are not kept",
            kept.empty() ? "none in this study" : "trials " + join(kept, ", "), number);
}

std::string weights_path(const std::string& what, DbOptions& db) {
  namespace fs = std::filesystem;
  if (fs::is_directory(what)) {
    const fs::path inside = fs::path(what) / "model.safetensors";
    if (!fs::exists(inside))
      bad_input("CHECKPOINT", "the folder has no model.safetensors", "", what);
    return inside;
  }
  if (fs::exists(what)) return what;
  if (std::all_of(what.begin(), what.end(), [](char c) { return c >= '0' && c <= '9'; }))
    return kept_weights(what, db);
  bad_input("CHECKPOINT", "no such file, folder or trial", "", what);
}

std::string metadata_of(const SafetensorsFile& file, const std::string& path,
                        const std::string& key) {
  const auto found = file.metadata().find(key);
  if (found == file.metadata().end())
    throw Error(Exit::Storage, path + ": not a model of ours: its metadata lacks '" + key + "'");
  return found->second;
}

}  // namespace

CheckpointModel load_model(const std::string& what, DbOptions db, const std::string& backend,
                           int threads, bool alone) {
  CheckpointModel model;
  model.path = weights_path(what, db);
  const SafetensorsFile file(model.path);
  const auto entry = [&](const std::string& key) { return metadata_of(file, model.path, key); };
  model.spec = read_spec(parse_json(entry("block"), model.path), model.path, layer_types());
  model.recipe = read_recipe(parse_json(entry("recipe"), model.path), model.path);
  const std::string vocab = entry("vocab");
  std::from_chars(vocab.data(), vocab.data() + vocab.size(), model.vocab);
  if (model.vocab < 1) throw Error(Exit::Storage, model.path + ": vocabulary of '" + vocab + "'");
  model.tokenizer = entry("tokenizer");
  if (alone) {
    Recipe single = model.recipe;
    single.batch = single.micro_batch = 1;
    if (why_illegal(model.spec, layer_types(), single).empty()) model.recipe = single;
  }
  LearnerOptions options;
  options.backend = backend;
  options.backend_options = {model.recipe.precision, threads};
  model.learner =
      std::make_unique<Learner>(model.spec, model.recipe, model.vocab, options, builtin_catalog());
  model.learner->restore(model.path, false);
  return model;
}

}  // namespace moebius
