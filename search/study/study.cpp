#include "search/study/study.h"

#include <unistd.h>

#include <algorithm>
#include <mutex>
#include <utility>

#include "search/study/draft.h"
#include "search/study/proposal.h"
#include "search/study/stored.h"
#include "space/base/log.h"
#include "space/base/text.h"

namespace moebius {
namespace {

constexpr const char* kStepSeconds = "baseline_step_seconds";
constexpr const char* kWallStepSeconds = "baseline_wall_step_seconds";
constexpr const char* kService = "service";

std::string process_owner() {
  char host[256] = "?";
  gethostname(host, sizeof host - 1);
  return fmt::format("{}:{}", host, getpid());
}

// Under which a study remembers what a trial's budget in seconds became.
std::string steps_key(const Trial& trial) { return fmt::format("steps/{}", trial.number); }

double number_or_zero(const Json& json) {
  if (const auto* real = json.get_ptr<const Json::number_float_t*>()) return *real;
  const auto* integer = json.get_ptr<const Json::number_integer_t*>();
  return integer ? static_cast<double>(*integer) : 0;
}

}  // namespace

struct Study::Impl {
  const StudyConfig config;
  const Space& space = config.space;
  const LayerTypes& types;
  ResultsDb& db;
  const bool service;
  const std::unique_ptr<Sampler> sampler;
  const std::unique_ptr<Stopper> stopper;
  const std::string owner;
  const Judge judge;

  mutable std::mutex mutex;
  StudyRow row;
  TrainingSeeds seeds{StudySettings()};
  History history;
  double step_seconds = 0;  // of the first baseline; 0 = not measured
  bool exhausted = false;
  mutable std::vector<CurvePoint> baseline_curve;  // of the first one; read when it is done

  Impl(StudyConfig given, const StudyPlugins& plugins, ResultsDb& results, const Json& provenance,
       bool is_service)
      : config(agreed(std::move(given), results, plugins)),
        types(plugins.types),
        db(results),
        service(is_service),
        sampler(plugins.samplers.get(config.sampler)
                    .make(settled_sampler_options(config, plugins.samplers))),
        stopper(plugins.stoppers.get(config.stopper)
                    .make(settled_stopper_options(config, plugins.stoppers))),
        owner(service ? kService : process_owner()),
        judge(judge_of(config, types)) {
    check_study(config, plugins);
    // A space that nothing satisfies is refused now, not when its baselines have been trained.
    if (!db.find_study(config.name)) check_drawable(config, plugins);
    row = db.open_study(settings(provenance), true);
    seeds = TrainingSeeds(row.settings);
    history = db.history(row.id);
    if (release_dead()) history = db.history(row.id);
    propose_given();
    step_seconds = number_or_zero(db.remember(row.id, step_seconds_key(), Json()));
  }

  TrialKey key(const Trial& trial) const { return {row.id, trial.number}; }

  // `given` with the sampler's options settled, by a new study, or as the study has them already.
  static StudyConfig agreed(StudyConfig given, ResultsDb& db, const StudyPlugins& plugins) {
    const std::optional<StudyRow> known = db.find_study(given.name);
    if (!known) {
      given.sampler_options = settled_sampler_options(given, plugins.samplers);
      given.stopper_options = settled_stopper_options(given, plugins.stoppers);
      return given;
    }
    const StudyConfig stored = stored_config(db, *known, plugins.types);
    check_rules(stored);
    if (given.sampler_options.empty()) given.sampler_options = stored.sampler_options;
    if (given.stopper_options.empty()) given.stopper_options = stored.stopper_options;
    const std::vector<std::string> lines = differences(stored, given);
    if (!lines.empty()) throw Error(Exit::BadInput, join(lines, "\n"));
    return given;
  }

  // A study that is there keeps the words of the release that made it.
  StudySettings settings(const Json& provenance) const {
    const std::optional<StudyRow> known = db.find_study(config.name);
    return known ? known->settings : settings_of(config, provenance);
  }

  void check_search_block(const Spec& spec, const std::string& where) const {
    if (const std::string why = judge.why_refused(spec); !why.empty())
      bad_input(where, "a block is infeasible: " + why);
  }

  void check_trainable(const Spec& spec, const std::string& where) const {
    if (const std::string why = judge.why_illegal(spec); !why.empty())
      bad_input(where, "a block cannot be trained under the recipe: " + why);
  }

  // Trials running under a process that is gone. A service leaves alone what it gave away itself.
  // Whether there was one.
  bool release_dead() {
    bool released = false;
    for (const std::int64_t number : history.open()) {
      const Trial& trial = *history.find(number);
      if (trial.state != TrialState::Running || (service && trial.owner == kService)) continue;
      db.release(key(trial), trial.attempt, false);
      released = true;
    }
    return released;
  }

  // Baselines and the blocks that the search starts from: all that is not there yet.
  void propose_given() {
    Draft draft(history, space, seeds);
    draft.baselines(config.baselines, config.baseline_seeds);
    for (const Spec& spec : config.seeds) draft.enqueue(spec);
    append(draft);
  }

  void append(Draft& draft) {
    if (draft.trials().empty()) return;
    db.propose(row.id, draft.trials(), 0);
    for (const Trial& trial : draft.trials()) history.add(trial);
  }

  ProposalContext context() const { return proposal_context(config, judge, *sampler, seeds); }

  // The first seed of the first baseline, which propose_given() gave the number 0.
  const Trial* gate() const {
    const Trial* trial = config.baselines.empty() ? nullptr : history.find(0);
    return trial && trial->role == TrialRole::Baseline ? trial : nullptr;
  }

  bool baselines_final() const {
    return std::none_of(history.open().begin(), history.open().end(), [&](std::int64_t number) {
      return history.find(number)->role == TrialRole::Baseline;
    });
  }

  // Whether search trial `number` may start, and be proposed if it is the next one.
  bool search_may_start(std::int64_t number) const {
    if (!baselines_final() || !history.ready(number, config.lag)) return false;
    if (const Trial* trial = gate(); trial && trial->state != TrialState::Done)
      throw Error(Exit::NoUsableTrial, fmt::format("the first baseline {} is {}: {}", trial->label,
                                                   state_text(trial->state),
                                                   trial->outcome ? trial->outcome->message : ""));
    return true;
  }

  bool may_start(const Trial& trial) const {
    if (trial.role == TrialRole::Search) return search_may_start(trial.number);
    const Trial* parent = history.find(trial.parent);
    return parent == nullptr || parent->final();
  }

  bool wants_more() const { return !exhausted && history.count(TrialRole::Search) < config.trials; }

  bool complete() const { return !wants_more() && history.open().empty(); }

  Trial claim(Trial trial) {
    trial.attempt = db.claim(key(trial), owner);
    trial.state = TrialState::Running;
    trial.owner = owner;
    history.update(trial);
    return trial;
  }

  std::optional<Trial> propose_next() {
    ProposalResult result = propose_trial(context(), history);
    if (!result.trial) {
      exhausted = true;
      warn("the space is exhausted after {} search trials: no new block in 1000 draws",
           history.count(TrialRole::Search));
      return {};
    }
    Trial& trial = *result.trial;
    trial.attempt = 1;
    trial.state = TrialState::Running;
    trial.owner = owner;
    db.propose(row.id, {trial}, result.redrawn);
    row.redrawn += result.redrawn;
    history.add(trial);
    history.trim();
    return trial;
  }

  bool by_wall() const { return config.budget.unit == Budget::Unit::Wall; }
  const char* step_seconds_key() const { return by_wall() ? kWallStepSeconds : kStepSeconds; }

  // Another attempt, and another seed of the same block, train as many steps as the first.
  void fix_steps(const Trial& trial, Candidate& candidate) const {
    const Json known =
        candidate.budget.timed() ? db.remember(row.id, steps_key(trial), Json()) : Json();
    if (known.is_object()) {
      candidate.fixed_steps =
          static_cast<std::int64_t>(number_or_zero(known.value("steps", Json())));
      if (const Json ratio = known.value("step_ratio", Json()); ratio.is_number())
        candidate.fixed_ratio = number_or_zero(ratio);
      return;
    }
    const Trial* parent = history.find(trial.parent);
    const bool same = parent && parent->spec_hash == trial.spec_hash &&
                      trial.role != TrialRole::Search && !trial.budget && !trial.recipe;
    if (same && parent->state == TrialState::Done)
      candidate.fixed_steps = parent->outcome->measurement.steps;
  }
};

Study::Study(StudyConfig config, const StudyPlugins& plugins, ResultsDb& db, const Json& provenance,
             bool service)
    : impl_(std::make_unique<Impl>(std::move(config), plugins, db, provenance, service)) {}

Study::~Study() = default;

void Study::prepare(Evaluator& evaluator) {
  const std::lock_guard lock(impl_->mutex);
  Impl& me = *impl_;
  if (me.config.baselines.empty() || !me.config.budget.timed() || me.step_seconds > 0) return;
  const double measured =
      evaluator.step_seconds(me.config.baselines.front().spec, me.config.recipe, me.by_wall());
  if (measured > 0)
    me.step_seconds = number_or_zero(me.db.remember(me.row.id, me.step_seconds_key(), measured));
}

Study::Asked Study::ask() {
  const std::lock_guard lock(impl_->mutex);
  Impl& me = *impl_;
  for (const std::int64_t number : me.history.open())
    if (const Trial& trial = *me.history.find(number);
        trial.state == TrialState::Waiting && me.may_start(trial))
      return {me.claim(trial)};
  const std::int64_t next = me.history.size();
  if (me.wants_more() && me.search_may_start(next))
    if (std::optional<Trial> trial = me.propose_next()) return {std::move(trial)};
  return {{}, me.complete()};
}

Candidate Study::candidate(const Trial& trial) const {
  const std::lock_guard lock(impl_->mutex);
  const Impl& me = *impl_;
  Candidate candidate;
  candidate.trial = trial.number;
  candidate.attempt = trial.attempt;
  candidate.spec = trial.spec;
  candidate.recipe = trial.recipe.value_or(me.config.recipe);
  candidate.budget = trial.budget.value_or(me.config.budget);
  me.fix_steps(trial, candidate);
  candidate.seed = trial.seed;
  if (me.config.baselines.empty()) return candidate;
  candidate.baseline = TimedBaseline{me.config.baselines.front().spec, me.step_seconds};
  if (trial.role == TrialRole::Search && candidate.budget.timed())
    candidate.max_step_ratio = me.judge.max_step_ratio();
  return candidate;
}

std::string Study::why_pruned(const Trial& trial, const CurvePoint& point, std::int64_t before,
                              std::int64_t steps) const {
  const Impl& me = *impl_;
  if (trial.role != TrialRole::Search || me.config.baselines.empty()) return "";
  const std::lock_guard lock(me.mutex);
  const Trial* first = me.gate();
  const bool done = first != nullptr && first->state == TrialState::Done;
  if (done && me.baseline_curve.empty()) me.baseline_curve = me.db.read_curve(me.key(*first));
  return me.stopper->why_pruned(
      {point, before, steps, me.baseline_curve, done ? first->outcome->measurement.steps : 0});
}

void Study::planned(const Trial& trial, std::int64_t steps, double step_ratio) {
  if (!trial.budget.value_or(impl_->config.budget).timed()) return;
  const Json known = {{"steps", steps}, {"step_ratio", or_null(step_ratio)}};
  impl_->db.remember(impl_->row.id, steps_key(trial), known);
}

void Study::tell(const Trial& given, const Outcome& outcome) {
  const std::lock_guard lock(impl_->mutex);
  Impl& me = *impl_;
  me.history.find(given.number);  // as it was before: the counts go from this state to the next
  Trial trial = given;
  if (outcome.ending == Ending::Stopped) {
    if (!outcome.curve.empty()) me.db.curve(me.key(trial), trial.attempt, outcome.curve);
    me.db.release(me.key(trial), trial.attempt, true);
    trial.state = TrialState::Waiting;
  } else {
    if (!me.db.finish(me.key(trial), trial.attempt, outcome))
      throw Error(Exit::NotOwner,
                  fmt::format("trial {}: attempt {} is not the current one any more; its result "
                              "is dropped",
                              trial.number, trial.attempt));
    trial.outcome = storable(outcome);
    trial.state = final_state(trial.outcome->ending);
  }
  me.history.update(trial);
}

std::vector<std::int64_t> Study::add(const std::vector<Spec>& specs, TrialRole role,
                                     std::int64_t parent, std::int64_t seeds) {
  const std::lock_guard lock(impl_->mutex);
  Impl& me = *impl_;
  Draft draft(me.history, me.space, me.seeds);
  std::vector<std::int64_t> numbers;
  for (const Spec& spec : specs) {
    if (role == TrialRole::Search) {
      me.check_search_block(spec, "enqueue");
      numbers.push_back(draft.enqueue(spec));
      continue;
    }
    me.check_trainable(spec, role_text(role));
    for (std::int64_t k = 0; k < seeds; ++k) numbers.push_back(draft.another(spec, role, parent));
  }
  me.append(draft);
  return numbers;
}

void Study::add_scaled(const std::vector<Baseline>& blocks) {
  const std::lock_guard lock(impl_->mutex);
  Draft draft(impl_->history, impl_->space, impl_->seeds);
  for (const Baseline& block : blocks) {
    impl_->check_trainable(block.spec, block.name);
    draft.scaled(block);
  }
  impl_->append(draft);
}

History Study::history() const {
  const std::lock_guard lock(impl_->mutex);
  return impl_->history;
}

const StudyConfig& Study::config() const { return impl_->config; }

const StudyRow& Study::row() const { return impl_->row; }

bool Study::complete() const {
  const std::lock_guard lock(impl_->mutex);
  return impl_->complete();
}

}  // namespace moebius
