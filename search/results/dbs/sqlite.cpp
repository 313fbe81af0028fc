#include <SQLiteCpp/Transaction.h>
#include <unistd.h>

#include <filesystem>
#include <map>
#include <mutex>

#include "search/results/dbs/check.h"
#include "search/results/dbs/connection.h"
#include "search/results/dbs/owner_lock.h"
#include "search/results/dbs/query.h"
#include "search/results/dbs/rows.h"
#include "search/results/store.h"

namespace moebius {
namespace {

using sqlite::Bound;

class SqliteDb : public ResultsDb {
 public:
  SqliteDb(std::string path, OpenMode mode) : path_(std::move(path)), mode_(mode) {
    if (path_.empty()) bad_input("--db", "names no file");
    if (exists()) {
      guarded([&] { database(); });
    } else if (mode_ == OpenMode::ReadOnly) {
      bad_input("--db", "no such file", "a database that moebius search made", printable(path_));
    }
  }

  StudyRow open_study(const StudySettings& settings, bool own) override {
    if (const std::string wrong = why_bad_name(settings.name); !wrong.empty())
      bad_input("--study", wrong, "", printable(settings.name));
    if (own) take_ownership(settings.name);
    const std::int64_t inode = own ? file_inode(path_) : 0;
    return write([&] {
      Bound(database(),
            "INSERT INTO study (name, files, space, recipe, options, seed, lag, provenance)"
            " VALUES (?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT (name) DO NOTHING",
            settings.name, random_id(), settings.space, settings.recipe, settings.options,
            settings.seed, settings.lag, settings.provenance)
          .exec();
      const StudyRow row = study_named(settings.name).value();
      check_same_settings(row.settings, settings);
      if (own)
        Bound(database(),
              "INSERT INTO note (study, key, value) VALUES (?, ?, ?) ON CONFLICT DO NOTHING",
              row.id, std::string(kInodeNote), Json(inode))
            .exec();
      return row;
    });
  }

  std::optional<StudyRow> find_study(const std::string& name) override {
    return read([&] { return study_named(name); });
  }

  std::vector<StudyRow> studies() override {
    return read([&] {
      std::vector<StudyRow> rows;
      Bound select(database(), fmt::format("SELECT {} FROM study ORDER BY id", kColumns));
      while (select.executeStep()) rows.push_back(sqlite::study_row(select));
      return rows;
    });
  }

  void propose(std::int64_t study, const std::vector<Trial>& trials,
               std::int64_t redrawn) override {
    write([&] {
      std::int64_t added = 0;
      for (const Trial& trial : trials)
        added += sqlite::insert_trial(database(), study, trial) ? 1 : 0;
      if (added > 0 || trials.empty())  // else this is a repetition
        Bound(database(), "UPDATE study SET redrawn = redrawn + ? WHERE id = ?", redrawn, study)
            .exec();
      return true;
    });
  }

  std::int64_t claim(const TrialKey& trial, const std::string& owner) override {
    return write([&] {
      Bound select(
          database(),
          "SELECT state, attempt, resumable, owner FROM trial WHERE study = ? AND number = ?",
          trial.study, trial.number);
      MOEBIUS_CHECK(select.executeStep(), "[sqlite] claim: no trial {} in study {}", trial.number,
                    trial.study);
      const std::string state = select.getColumn(0).getString();
      const std::int64_t attempt = select.getColumn(1).getInt64();
      if (state == "running" && select.getColumn(3).getString() == owner) return attempt;
      if (state != "waiting")
        throw Error(Exit::NotOwner,
                    fmt::format("trial {} is {}, not waiting", trial.number, state));
      const std::int64_t next = attempt + (select.getColumn(2).getInt() == 1 ? 0 : 1);
      Bound(database(),
            fmt::format("UPDATE trial SET state = 'running', attempt = ?, resumable = 0, owner = ?,"
                        " started = {} WHERE study = ? AND number = ?",
                        sqlite::kNow),
            next, owner, trial.study, trial.number)
          .exec();
      return next;
    });
  }

  void curve(const TrialKey& trial, std::int64_t attempt,
             const std::vector<CurvePoint>& points) override {
    write([&] {
      if (current(trial, attempt)) sqlite::put_curve(database(), trial, attempt, points);
      return true;
    });
  }

  bool finish(const TrialKey& trial, std::int64_t attempt, const Outcome& given) override {
    const Outcome outcome = storable(given);
    return write([&] {
      if (!current(trial, attempt)) return repeated(trial, attempt, outcome);
      end(trial, attempt, outcome);
      return true;
    });
  }

  void release(const TrialKey& trial, std::int64_t attempt, bool graceful) override {
    write([&] {
      if (!current(trial, attempt)) return true;
      Bound(database(),
            "UPDATE trial SET state = 'waiting', resumable = ?, lost = lost + ?"
            " WHERE study = ? AND number = ?",
            graceful ? 1 : 0, graceful ? 0 : 1, trial.study, trial.number)
          .exec();
      Bound lost(database(), "SELECT lost FROM trial WHERE study = ? AND number = ?", trial.study,
                 trial.number);
      if (lost.executeStep() && lost.getColumn(0).getInt64() >= kMaxLost)
        end(trial, attempt, lost_outcome());
      return true;
    });
  }

  History history(std::int64_t study) override {
    StudyCounts counts = read([&] { return sqlite::read_counts(database(), study); });
    return {std::move(counts), std::make_shared<Trials>(*this, study)};
  }

  std::vector<CurvePoint> read_curve(const TrialKey& trial) override {
    return read([&] { return sqlite::read_curve(database(), trial); });
  }

  void artifact(const TrialKey& trial, const std::string& kind, const std::string& path,
                const std::string& hash) override {
    write([&] {
      return Bound(database(),
                   "INSERT INTO artifact (study, number, kind, path, hash) VALUES (?, ?, ?, ?, ?)"
                   " ON CONFLICT (study, number, kind) DO UPDATE SET path = excluded.path,"
                   " hash = excluded.hash, gone = 0",
                   trial.study, trial.number, kind, path, hash)
          .exec();
    });
  }

  void artifact_gone(const TrialKey& trial, const std::string& kind) override {
    write([&] {
      return Bound(database(),
                   "UPDATE artifact SET gone = 1 WHERE study = ? AND number = ? AND kind = ?",
                   trial.study, trial.number, kind)
          .exec();
    });
  }

  std::vector<Artifact> artifacts(std::int64_t study) override {
    return read([&] {
      std::vector<Artifact> result;
      Bound select(database(),
                   "SELECT number, kind, path, hash FROM artifact"
                   " WHERE study = ? AND gone = 0 ORDER BY number, kind",
                   study);
      while (select.executeStep())
        result.push_back({select.getColumn(0).getInt64(), select.getColumn(1).getString(),
                          select.getColumn(2).getString(), select.getColumn(3).getString()});
      return result;
    });
  }

  Json remember(std::int64_t study, const std::string& key, const Json& value) override {
    const auto stored = [&] {
      Bound select(database(), "SELECT value FROM note WHERE study = ? AND key = ?", study, key);
      return select.executeStep() ? sqlite::stored_json(select.getColumn(0).getString()) : Json();
    };
    if (value.is_null()) return read(stored);
    return write([&] {
      Bound(database(),
            "INSERT INTO note (study, key, value) VALUES (?, ?, ?) ON CONFLICT DO NOTHING", study,
            key, value)
          .exec();
      return stored();
    });
  }

  QueryResult query(const std::string& sql, const std::vector<Json>& bound,
                    const QueryLimits& limits) override {
    if (!exists()) bad_input("--db", "no such file", "", printable(path_));
    return guarded([&] { return sqlite::run_query(path_, sql, bound, limits); });
  }

  std::string describe() const override { return sqlite::describe(); }

  std::vector<std::string> check() override {
    return read([&] { return sqlite::broken_invariants(database()); });
  }

 private:
  static constexpr const char* kColumns = sqlite::kStudyColumns;

  // What a History of this database reads.
  class Trials : public TrialSource {
   public:
    Trials(SqliteDb& db, std::int64_t study) : db_(db), study_(study) {}
    TrialPtr trial(std::int64_t number) const override {
      const std::optional<Trial> trial = db_.read([&] {
        return sqlite::read_trial(db_.database(), {study_, number});
      });
      return trial ? std::make_shared<const Trial>(*trial) : nullptr;
    }
    std::vector<std::int64_t> of_block(const std::string& spec_hash) const override {
      return numbers("trial WHERE study = ? AND spec_hash = ? ORDER BY number", spec_hash);
    }
    std::vector<std::int64_t> of_role(TrialRole role) const override {
      return numbers("trial INDEXED BY trial_by_state WHERE study = ? AND role = ? ORDER BY number",
                     role_text(role));
    }
    std::vector<std::int64_t> by_loss(std::int64_t limit) const override {
      return numbers(
          "measurement WHERE study = ? AND loss IS NOT NULL ORDER BY loss, number LIMIT ?",
          limit > 0 ? limit : std::int64_t{-1});
    }
    std::vector<std::string> repeated() const override {
      return db_.read([&] {
        std::vector<std::string> hashes;
        Bound select(db_.database(),
                     "SELECT spec_hash FROM trial INDEXED BY trial_by_block WHERE study = ?"
                     " GROUP BY spec_hash HAVING count(*) > 1",
                     study_);
        while (select.executeStep()) hashes.push_back(select.getColumn(0).getString());
        return hashes;
      });
    }

   private:
    template <class Value>
    std::vector<std::int64_t> numbers(const std::string& of, const Value& value) const {
      return db_.read([&] {
        std::vector<std::int64_t> result;
        Bound select(db_.database(), "SELECT number FROM " + of, study_, value);
        while (select.executeStep()) result.push_back(select.getColumn(0).getInt64());
        return result;
      });
    }

    SqliteDb& db_;
    const std::int64_t study_;
  };

  bool exists() const { return std::filesystem::exists(path_); }

  sqlite::Connection& database() {
    if (!database_) {
      const std::filesystem::path folder = std::filesystem::path(path_).parent_path();
      if (mode_ == OpenMode::Create && !folder.empty()) std::filesystem::create_directories(folder);
      database_ = sqlite::connect(path_, mode_);
    }
    return *database_;
  }

  void must_be_writable() const {
    if (mode_ == OpenMode::ReadOnly)
      throw Error(Exit::Storage, path_ + ": is open for reading only");
  }

  void take_ownership(const std::string& study) {
    const std::lock_guard lock(mutex_);
    must_be_writable();
    guarded([&] { database(); });
    auto& owned = locks_[study];
    if (!owned) owned = std::make_unique<sqlite::OwnerLock>(path_, study);
  }

  template <class Work>
  auto guarded(Work&& work) -> decltype(work()) {
    try {
      return work();
    } catch (const SQLite::Exception& error) {
      sqlite::raise(path_, error);
    } catch (const std::filesystem::filesystem_error& error) {
      throw Error(Exit::Storage, fmt::format("{}: {}", path_, error.code().message()));
    }
  }

  // Before the first study there is no file, and nothing in it.
  template <class Work>
  auto read(Work&& work) -> decltype(work()) {
    const std::lock_guard lock(mutex_);
    if (!database_ && !exists()) return {};
    return guarded(work);
  }

  // One BEGIN IMMEDIATE .. COMMIT. A failed COMMIT is not a rollback: after an I/O error the change
  // may be on the disk or not. Every verb first reads what it would write, so it runs once more on
  // a fresh connection and finds its own rows, or writes them.
  template <class Change>
  auto write(Change&& change) -> decltype(change()) {
    const std::lock_guard lock(mutex_);
    must_be_writable();
    return guarded([&] {
      for (bool again = false;; again = true) {
        try {
          SQLite::Transaction transaction(database(), SQLite::TransactionBehavior::IMMEDIATE);
          const auto result = change();
          transaction.commit();
          return result;
        } catch (const SQLite::Exception& error) {
          database_.reset();
          if (again || (error.getErrorCode() & 0xFF) != SQLITE_IOERR) throw;
        }
      }
    });
  }

  std::optional<StudyRow> study_named(const std::string& name) {
    Bound select(database(), fmt::format("SELECT {} FROM study WHERE name = ?", kColumns), name);
    return select.executeStep() ? std::optional(sqlite::study_row(select)) : std::nullopt;
  }

  bool current(const TrialKey& trial, std::int64_t attempt) {
    Bound select(database(),
                 "SELECT 1 FROM trial WHERE study = ? AND number = ? AND attempt = ?"
                 " AND state = 'running'",
                 trial.study, trial.number, attempt);
    return select.executeStep();
  }

  // Whether this very result is what the trial ended with.
  bool repeated(const TrialKey& trial, std::int64_t attempt, const Outcome& outcome) {
    Bound select(database(),
                 "SELECT ending = ? AND loss IS ? AND result_hash = ? FROM measurement"
                 " WHERE study = ? AND number = ? AND attempt = ?",
                 ending_text(outcome.ending), outcome.measurement.loss,
                 outcome.measurement.result_hash, trial.study, trial.number, attempt);
    return select.executeStep() && select.getColumn(0).getInt() == 1;
  }

  void end(const TrialKey& trial, std::int64_t attempt, const Outcome& outcome) {
    Bound(database(),
          fmt::format("UPDATE trial SET state = ?, resumable = 0, ended = {}"
                      " WHERE study = ? AND number = ?",
                      sqlite::kNow),
          state_text(final_state(outcome.ending)), trial.study, trial.number)
        .exec();
    sqlite::insert_measurement(database(), trial, attempt, outcome);
  }

  const std::string path_;
  const OpenMode mode_;
  std::mutex mutex_;
  std::unique_ptr<sqlite::Connection> database_;
  std::map<std::string, std::unique_ptr<sqlite::OwnerLock>> locks_;  // by study
};

}  // namespace

DbPlugin dbs_sqlite() {
  return {"one file, the default; sqlite:///FILE or a bare path",
          [](const std::string& place, OpenMode mode) {
            return std::make_unique<SqliteDb>(place, mode);
          },
          true};
}

}  // namespace moebius
