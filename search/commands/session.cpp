#include "search/commands/session.h"

#include <unistd.h>

#include <algorithm>
#include <cmath>

#include "model/instruction_level.h"
#include "search/commands/progress.h"
#include "search/results/version.h"
#include "space/base/log.h"
#include "space/base/units.h"

namespace moebius {
namespace {

constexpr char kElsewhere[] = "external";  // the evaluator of studies that ask and tell drive

void check_name(const std::string& name) {
  if (const std::string why = why_bad_name(name); !why.empty())
    bad_input("--study", why, "letters, digits, _ . -, at most 64", name);
}

void refuse_elsewhere(const StudyRow& row) {
  if (row.settings.options.value("evaluator", "proxy") == kElsewhere)
    bad_input("--study", "is judged elsewhere; use ask and tell", "", row.settings.name);
}

Json provenance(const DataOptions& data) {
  return {{"version", version()},        {"revision", git_revision()},
          {"cpu", cpu_name()},           {"instruction_level", instruction_level()},
          {"command", command_line()},   {"data", data.data},
          {"tokenizer", data.tokenizer}, {"vocab", data.vocab}};
}

Json to_json(const std::vector<Baseline>& baselines) {
  Json result = Json::array();
  for (const Baseline& baseline : baselines)
    result.push_back({{"name", baseline.name}, {"spec", to_json(baseline.spec)}});
  return result;
}

Json to_json(const std::vector<Spec>& specs) {
  Json result = Json::array();
  for (const Spec& spec : specs) result.push_back(to_json(spec));
  return result;
}

// What a study recorded, as options again.
StudyOptions recorded(const StudyRow& row) {
  StudyOptions result;
  const Json& options = row.settings.options;
  const std::string where = "study " + row.settings.name;
  result.settings = row.settings;
  result.trials = row.settings.provenance.value("trials", result.trials);
  result.sampler = options.value("sampler", result.sampler);
  result.budget = parse_budget(options.value("budget", ""));
  result.baseline_seeds = options.value("baseline_seeds", std::int64_t{1});
  result.gate_margin = options.value("gate_margin", result.gate_margin);
  for (const Json& seed : options.value("seeds", Json::array()))
    result.seeds.push_back(read_spec(seed, where, layer_types()));
  if (const Json baselines = options.value("baselines", Json()); baselines.is_array()) {
    result.baselines.emplace();
    for (const Json& baseline : baselines)
      result.baselines->push_back(
          {baseline.value("name", ""),
           read_spec(baseline.value("spec", Json()), where, layer_types())});
  }
  return result;
}

Recipe recorded_recipe(const StudyRow& row) {
  Problems problems("study " + row.settings.name);
  const Recipe recipe = read_recipe(Reader(row.settings.recipe, "/recipe", problems));
  problems.raise();
  return recipe;
}

// Where this run says nothing, the study's own data.
DataOptions merged(DataOptions data, const StudyRow& row) {
  if (data.data.empty()) data.data = row.settings.provenance.value("data", "");
  if (data.tokenizer.empty()) data.tokenizer = row.settings.provenance.value("tokenizer", "");
  if (data.vocab == 0) data.vocab = row.settings.provenance.value("vocab", std::int64_t{0});
  return data;
}

}  // namespace

void Session::take_workers(const DataOptions& data, std::int64_t lag) {
  if (data.workers > lag)
    bad_input("--workers",
              "more trials at once than the lag of the study, which --lag sets when it is made",
              fmt::format("1..{}", lag), std::to_string(data.workers));
  // Only the process as a whole counts the time of a trial's helper threads.
  if (data.workers > 1 && data.threads > 1)
    bad_input("--threads", "the CPU time of a trial is not known beside other trials",
              "1, or --workers 1", std::to_string(data.threads));
  workers_ = data.workers;
}

void Session::make_evaluator(const std::string& name, EvaluatorOptions options) {
  if (name == kElsewhere) return;
  options.directory = files_of(db_);
  evaluator_options_ = options;
  if (name == "proxy" && options.data.empty())
    bad_input("--data", "is required", "a text file, a directory, a .bin, or builtin");
  if (name == "command" && options.command.empty())
    bad_input("--command", "is required with --evaluator command");
  evaluator_ = evaluators().get(name).make(options);
  evaluator_->check(recipe_);
  vocab_ = evaluator_->vocab();
  if (options.vocab > 0 && options.vocab != vocab_)
    bad_input("--vocab", "--evaluator " + name + " has its own", std::to_string(vocab_),
              std::to_string(options.vocab));
}

void Session::make_study(StudyOptions options) {
  options_ = std::move(options);
  results_ = open_db(db_.db, OpenMode::Create);
  study_ = std::make_unique<Study>(options_, *space_, layer_types(), *results_, vocab_);
}

std::unique_ptr<Session> Session::open(const StudyRequest& request) {
  std::unique_ptr<Session> session(new Session);
  session->space_ = load_space(request.space, layer_types());
  if (!request.baselines.empty()) {
    Json document = session->space_->document();
    document["baseline"] = request.baselines;
    session->space_ = Space::read(document, request.space, layer_types());
  }
  const Space& space = *session->space_;
  session->take_workers(request.data, request.lag);
  session->db_ = request.db;
  if (session->db_.study.empty()) session->db_.study = space.name();
  check_name(session->db_.study);
  session->recipe_ = apply(request.recipe, space.recipe());
  check_recipe(session->recipe_);

  StudyOptions options;
  options.settings.name = session->db_.study;
  options.budget = parse_budget(request.budget);
  samplers().get(request.sampler);
  options.sampler = request.sampler;
  options.trials = request.trials;
  options.baseline_seeds = request.baseline_seeds;
  options.gate_margin = request.gate_margin;
  options.service = request.service;
  for (const std::string& name : request.seed_from) options.seeds.push_back(load_block(name).spec);
  EvaluatorOptions evaluator = evaluator_options(request.data, session->recipe_);
  evaluator.command = request.command;
  session->vocab_ = request.data.vocab > 0 ? request.data.vocab : scale(space.scale()).vocab;
  session->make_evaluator(request.evaluator, evaluator);

  StudySettings& settings = options.settings;
  settings.space = space.document();
  settings.recipe = moebius::to_json(session->recipe_);
  settings.seed = static_cast<std::uint64_t>(request.seed);
  settings.lag = request.lag;
  settings.provenance = provenance(request.data);
  settings.provenance["trials"] = request.trials;
  settings.options = {{"budget", to_string(options.budget)},
                      {"sampler", options.sampler},
                      {"evaluator", request.evaluator},
                      {"command", request.command},
                      {"data_hash", session->evaluator_ ? session->evaluator_->data_hash() : ""},
                      {"vocab", session->vocab_},
                      {"gate_margin", options.gate_margin},
                      {"baseline_seeds", options.baseline_seeds},
                      {"seeds", to_json(options.seeds)},
                      {"baselines", nullptr}};  // the space's
  session->make_study(std::move(options));
  return session;
}

std::unique_ptr<Session> Session::reopen(DbOptions db, const DataOptions& data, bool service,
                                         std::int64_t trials) {
  std::unique_ptr<Session> session(new Session);
  const std::unique_ptr<ResultsDb> reader = open_existing(db, OpenMode::ReadOnly);
  const StudyRow row = pick_study(*reader, db);
  session->db_ = db;
  session->space_ = Space::read(row.settings.space, "study " + row.settings.name, layer_types());
  session->recipe_ = recorded_recipe(row);
  const Json& recorded_options = row.settings.options;
  session->vocab_ = recorded_options.value("vocab", std::int64_t{0});
  StudyOptions options = recorded(row);
  if (trials < 0) options.trials = reader->history(row.id).count(TrialRole::Search);
  if (trials > 0) options.trials = trials;
  options.service = service;
  if (!service) {
    refuse_elsewhere(row);
    session->take_workers(data, row.settings.lag);
    EvaluatorOptions evaluator = evaluator_options(merged(data, row), session->recipe_);
    evaluator.command = recorded_options.value("command", "");
    session->make_evaluator(recorded_options.value("evaluator", "proxy"), evaluator);
    const std::string hash = recorded_options.value("data_hash", "");
    if (session->evaluator_ && session->evaluator_->data_hash() != hash)
      bad_input("--data", "not the data that study " + row.settings.name + " was trained on", hash,
                session->evaluator_->data_hash());
  }
  session->make_study(std::move(options));
  return session;
}

std::unique_ptr<Session> Session::scaled(DbOptions db, const StudyRow& row, const DataOptions& data,
                                         const std::string& name, const std::string& budget,
                                         const std::vector<ScaledBlock>& blocks) {
  refuse_elsewhere(row);
  std::unique_ptr<Session> session(new Session);
  session->take_workers(data, row.settings.lag);
  session->db_ = db;
  session->db_.study = name;
  check_name(name);
  session->space_ = Space::read(row.settings.space, "study " + row.settings.name, layer_types());
  session->recipe_ = blocks.front().recipe;
  StudyOptions options = recorded(row);
  options.settings.name = name;
  options.budget = parse_budget(budget);
  options.trials = 0;
  options.baseline_seeds = 1;
  options.seeds.clear();
  std::vector<Baseline> baselines, found;
  for (const ScaledBlock& block : blocks)
    (block.trial < 0 ? baselines : found).push_back({block.name, block.spec});
  // What fitted when the study was made: today's free memory is no reason to change it.
  if (const auto known = open_existing(db, OpenMode::ReadOnly)->find_study(name))
    baselines = recorded(*known).baselines.value_or(baselines);
  options.baselines = baselines;
  EvaluatorOptions evaluator = evaluator_options(merged(data, row), session->recipe_);
  evaluator.command = row.settings.options.value("command", "");
  session->make_evaluator(row.settings.options.value("evaluator", "proxy"), evaluator);

  StudySettings& settings = options.settings;
  settings.recipe = moebius::to_json(session->recipe_);
  settings.provenance = provenance(merged(data, row));
  settings.provenance["scaled_from"] = row.settings.name;
  settings.options["budget"] = to_string(options.budget);
  settings.options["data_hash"] = session->evaluator_ ? session->evaluator_->data_hash() : "";
  settings.options["vocab"] = session->vocab_;
  settings.options["baseline_seeds"] = 1;
  settings.options["seeds"] = Json::array();
  settings.options["baselines"] = to_json(baselines);
  session->make_study(std::move(options));
  session->study_->add_scaled(found);
  return session;
}

}  // namespace moebius
