#include "search/commands/session.h"

#include <filesystem>
#include <utility>

#include "model/instruction_level.h"
#include "search/results/store.h"
#include "search/results/version.h"
#include "search/study/stored.h"
#include "space/base/log.h"

namespace moebius {
namespace {

constexpr char kDefaultSpace[] = "brainformer-nano";

void check_name(const std::string& name) {
  if (const std::string why = why_bad_name(name); !why.empty())
    bad_input("--study", why, "letters, digits, _ . -, at most 64", name);
}

void refuse_elsewhere(const StudyConfig& config) {
  if (config.evaluator == kElsewhere)
    bad_input("--study", "is judged elsewhere; use ask and tell", "", config.name);
}

void check_workers(const DataOptions& data, std::int64_t lag) {
  if (data.workers > lag)
    bad_input("--workers",
              "more trials at once than the lag of the study, which --lag sets when it is made",
              fmt::format("1..{}", lag), std::to_string(data.workers));
  // Only the process as a whole counts the time of a trial's helper threads.
  if (data.workers > 1 && data.threads > 1)
    bad_input("--threads", "the CPU time of a trial is not known beside other trials",
              "1, or --workers 1", std::to_string(data.threads));
}

Json provenance() {
  return {{"version", version()},
          {"revision", git_revision()},
          {"cpu", cpu_name()},
          {"instruction_level", instruction_level()},
          {"command", command_line()}};
}

void say_data(StudyRequest& request, const DataOptions& data) {
  if (!data.data.empty()) request.given["data"] = data.data;
  if (!data.tokenizer.empty()) request.given["tokenizer"] = data.tokenizer;
}

}  // namespace

void add_seeds(StudyRequest& study, const std::vector<std::string>& blocks) {
  for (const std::string& name : blocks) study.seeds.push_back(load_block(name).spec);
}

namespace {

std::optional<StudyConfig> known_study(const DbOptions& db) {
  if (!db_exists(db.db)) return {};
  const std::unique_ptr<ResultsDb> results = open_existing(db, OpenMode::ReadOnly);
  const std::optional<StudyRow> row = results->find_study(db.study);
  return row ? std::optional(stored_config(*results, *row, layer_types())) : std::nullopt;
}

}  // namespace

EvaluatorOptions Session::resources() const { return evaluator_options(data_, Recipe()); }

void Session::start(MadeStudy made, const Json& origin, bool service) {
  evaluator_ = std::move(made.evaluator);
  results_ = open_db(db_.db, OpenMode::Create);
  study_ =
      std::make_unique<Study>(std::move(made.config), layer_types(), *results_, origin, service);
}

std::unique_ptr<Session> Session::open(const SessionRequest& request) {
  std::unique_ptr<Session> session(new Session(request.db, request.data));
  StudyRequest study = request.study;
  add_seeds(study, request.seed_from);
  say_data(study, request.data);
  DbOptions& db = session->db_;
  const bool named = !db.study.empty();
  if (!request.space.empty() || !named)
    study.space = load_space(request.space.empty() ? kDefaultSpace : request.space, layer_types());
  if (!named) db.study = study.space->name();
  check_name(db.study);
  const std::optional<StudyConfig> known = known_study(db);
  if (known && !study.elsewhere) refuse_elsewhere(*known);
  if (request.space.empty()) {
    if (known)
      study.space.reset();
    else if (!study.space)
      study.space = load_space(kDefaultSpace, layer_types());
  }
  const auto lag = study.given.find("lag");
  check_workers(request.data, known                      ? known->lag
                              : lag == study.given.end() ? StudyConfig().lag
                                                         : std::get<std::int64_t>(lag->second));
  MadeStudy made = known ? resumed_study(*known, study, session->resources())
                         : new_study(db.study, study, session->resources());
  session->start(std::move(made), provenance(), study.elsewhere);
  return session;
}

std::unique_ptr<Session> Session::reopen(const DbOptions& db, const DataOptions& data,
                                         StudyRequest request, bool proposes) {
  std::unique_ptr<Session> session(new Session(db, data));
  StudyConfig stored;
  {
    const std::unique_ptr<ResultsDb> reader = open_existing(db, OpenMode::ReadOnly);
    const StudyRow row = pick_study(*reader, session->db_);
    stored = stored_config(*reader, row, layer_types());
    // A service runs nothing by itself, so nothing is proposed unless it is asked for.
    if (!proposes && !request.elsewhere)
      request.given["trials"] = reader->history(row.id).count(TrialRole::Search);
  }
  if (!request.elsewhere) refuse_elsewhere(stored);
  check_workers(data, stored.lag);
  say_data(request, data);
  session->start(resumed_study(stored, request, session->resources()), Json::object(),
                 request.elsewhere);
  return session;
}

std::unique_ptr<Session> Session::scaled(const DbOptions& db, const StudyRow& row,
                                         const DataOptions& data, const std::string& name,
                                         const std::string& budget,
                                         const std::vector<ScaledBlock>& blocks) {
  std::unique_ptr<Session> session(new Session(db, data));
  MadeStudy made;
  StudyConfig& config = made.config;
  config = stored_config(*open_existing(db, OpenMode::ReadOnly), row, layer_types());
  refuse_elsewhere(config);
  check_workers(data, config.lag);
  check_name(name);
  session->db_.study = config.name = name;
  config.rules = kRules;  // blocks of older studies are seeds
  config.recipe = blocks.front().recipe;
  config.budget = parse_budget(budget);
  config.trials = config.confirm = 0;
  config.baseline_seeds = 1;
  config.seeds.clear();
  config.baselines.clear();
  std::vector<Baseline> found;
  for (const ScaledBlock& block : blocks)
    (block.trial < 0 ? config.baselines : found).push_back({block.name, block.spec});
  // What fitted when the study was made: today's free memory is no reason to change it.
  if (const auto known = known_study(session->db_)) {
    check_rules(*known);
    config.baselines = known->baselines;
  }
  if (!data.data.empty()) config.data = data.data;
  if (!data.tokenizer.empty()) config.tokenizer = data.tokenizer;
  made.evaluator = make_evaluator(config, session->resources());
  Json origin = provenance();
  origin["scaled_from"] = row.settings.name;
  session->start(std::move(made), origin, false);
  session->study_->add_scaled(found);
  return session;
}

}  // namespace moebius
