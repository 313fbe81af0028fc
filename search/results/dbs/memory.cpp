#include <algorithm>
#include <cmath>
#include <deque>
#include <map>
#include <mutex>
#include <utility>

#include "search/results/results_db.h"

namespace moebius {
namespace {

// The contract of ResultsDb in the plainest form: what the other databases are compared with.
class MemoryDb : public ResultsDb {
 public:
  StudyRow open_study(const StudySettings& settings, bool) override {
    const std::lock_guard lock(mutex_);
    if (const std::string wrong = why_bad_name(settings.name); !wrong.empty())
      bad_input("--study", wrong, "", printable(settings.name));
    for (const StudyData& study : studies_)
      if (study.row.settings.name == settings.name) {
        check_same_settings(study.row.settings, settings);
        return study.row;
      }
    StudyData study;
    study.row.id = static_cast<std::int64_t>(studies_.size()) + 1;
    study.row.files = random_id();
    study.row.settings = settings;
    studies_.push_back(std::move(study));
    return studies_.back().row;
  }

  std::optional<StudyRow> find_study(const std::string& name) override {
    const std::lock_guard lock(mutex_);
    for (const StudyData& study : studies_)
      if (study.row.settings.name == name) return study.row;
    return {};
  }

  std::vector<StudyRow> studies() override {
    const std::lock_guard lock(mutex_);
    std::vector<StudyRow> rows;
    for (const StudyData& study : studies_) rows.push_back(study.row);
    return rows;
  }

  void propose(std::int64_t study, const std::vector<Trial>& trials,
               std::int64_t redrawn) override {
    const std::lock_guard lock(mutex_);
    StudyData& data = of_study(study);
    const auto known = static_cast<std::int64_t>(data.trials.size());
    std::int64_t next = known;
    for (const Trial& trial : trials) check_number(data, trial, next);
    for (const Trial& trial : trials)
      if (trial.number >= known) data.trials.push_back({trial, false, 0, {}});
    if (next > known || trials.empty()) data.row.redrawn += redrawn;
  }

  std::int64_t claim(const TrialKey& trial, const std::string& owner) override {
    const std::lock_guard lock(mutex_);
    TrialData& data = of_trial(trial);
    if (data.trial.state == TrialState::Running && data.trial.owner == owner)
      return data.trial.attempt;
    if (data.trial.state != TrialState::Waiting)
      throw Error(Exit::NotOwner, fmt::format("trial {} is {}, not waiting", data.trial.number,
                                              state_text(data.trial.state)));
    data.trial.state = TrialState::Running;
    if (!data.resumable) data.curve.clear();
    data.trial.attempt += data.resumable ? 0 : 1;
    data.trial.owner = owner;
    data.resumable = false;
    return data.trial.attempt;
  }

  void curve(const TrialKey& trial, std::int64_t attempt,
             const std::vector<CurvePoint>& points) override {
    const std::lock_guard lock(mutex_);
    TrialData& data = of_trial(trial);
    if (current(data, attempt)) data.curve = points;
  }

  std::vector<CurvePoint> read_curve(const TrialKey& trial) override {
    const std::lock_guard lock(mutex_);
    return of_trial(trial).curve;
  }

  bool finish(const TrialKey& trial, std::int64_t attempt, const Outcome& given) override {
    const std::lock_guard lock(mutex_);
    TrialData& data = of_trial(trial);
    if (!current(data, attempt))
      return data.trial.attempt == attempt && data.trial.outcome &&
             same_result(*data.trial.outcome, storable(given));
    end(data, storable(given));
    return true;
  }

  void release(const TrialKey& trial, std::int64_t attempt, bool graceful) override {
    const std::lock_guard lock(mutex_);
    TrialData& data = of_trial(trial);
    if (!current(data, attempt)) return;
    data.lost += graceful ? 0 : 1;
    data.resumable = graceful;
    data.trial.state = TrialState::Waiting;
    if (data.lost >= kMaxLost) end(data, lost_outcome());
  }

  History history(std::int64_t study) override {
    const std::lock_guard lock(mutex_);
    History history;
    for (const TrialData& data : of_study(study).trials) history.add(data.trial);
    return history;
  }

  void artifact(const TrialKey& trial, const std::string& kind, const std::string& path,
                const std::string& hash) override {
    const std::lock_guard lock(mutex_);
    artifacts_[{trial, kind}] = {trial.number, kind, path, hash};
  }

  void artifact_gone(const TrialKey& trial, const std::string& kind) override {
    const std::lock_guard lock(mutex_);
    artifacts_.erase({trial, kind});
  }

  std::vector<Artifact> artifacts(std::int64_t study) override {
    const std::lock_guard lock(mutex_);
    std::vector<Artifact> result;
    for (const auto& [key, artifact] : artifacts_)
      if (key.first.study == study) result.push_back(artifact);
    return result;
  }

  Json remember(std::int64_t study, const std::string& key, const Json& value) override {
    const std::lock_guard lock(mutex_);
    std::map<std::string, Json>& notes = of_study(study).notes;
    if (!value.is_null()) notes.emplace(key, value);
    const auto found = notes.find(key);
    return found == notes.end() ? Json() : found->second;
  }

  QueryResult query(const std::string&, const std::vector<Json>&, const QueryLimits&) override {
    bad_input("--db", "the memory database speaks no SQL", "sqlite", "memory:");
  }

  std::string describe() const override { return "memory, nothing is kept"; }

  std::vector<std::string> check() override { return {}; }

 private:
  struct TrialData {
    Trial trial;
    bool resumable = false;
    std::int64_t lost = 0;
    std::vector<CurvePoint> curve = {};  // of the last attempt
  };
  struct StudyData {
    StudyRow row;
    std::deque<TrialData> trials;  // by number
    std::map<std::string, Json> notes;
  };

  StudyData& of_study(std::int64_t id) { return studies_.at(static_cast<std::size_t>(id - 1)); }
  TrialData& of_trial(const TrialKey& key) {
    return of_study(key.study).trials.at(static_cast<std::size_t>(key.number));
  }

  // A number is the next one, or the same block is there already (a repetition).
  void check_number(const StudyData& data, const Trial& trial, std::int64_t& next) {
    if (trial.number == next) {
      ++next;
      return;
    }
    if (trial.number < 0 || trial.number > next)
      throw Error(Exit::Storage,
                  fmt::format("trial {} does not follow trial {}", trial.number, next - 1));
    const Trial& known = data.trials.at(static_cast<std::size_t>(trial.number)).trial;
    if (known.spec_hash != trial.spec_hash || known.role != trial.role)
      throw Error(Exit::Storage, fmt::format("trial {} is another block already", trial.number));
  }

  static bool current(const TrialData& data, std::int64_t attempt) {
    return data.trial.state == TrialState::Running && data.trial.attempt == attempt;
  }

  static void end(TrialData& data, Outcome outcome) {
    data.trial.state = final_state(outcome.ending);
    data.curve = std::move(outcome.curve);
    data.trial.outcome = std::move(outcome);
  }

  std::mutex mutex_;
  std::deque<StudyData> studies_;
  std::map<std::pair<TrialKey, std::string>, Artifact> artifacts_;  // by trial and kind
};

}  // namespace

DbPlugin dbs_memory() {
  return {"nothing is kept; tests and benchmarks",
          [](const std::string&, OpenMode) { return std::make_unique<MemoryDb>(); }};
}

}  // namespace moebius
