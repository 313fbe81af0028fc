#include <algorithm>
#include <cmath>
#include <filesystem>
#include <fstream>

#include "evaluator/evaluator.h"
#include "evaluator/evaluators/report.h"
#include "evaluator/evaluators/subprocess.h"
#include "evaluator/training/account.h"
#include "evaluator/training/step_time.h"
#include "model/catalog.h"
#include "space/base/atomic_file.h"
#include "space/base/hash.h"

namespace moebius {
namespace {

constexpr double kGraceSeconds = 5;  // between SIGTERM and SIGKILL
constexpr int kPollMilliseconds = 50;
constexpr char kDirectory[] = "runs/trials";  // where nobody names one
constexpr std::int64_t kVocab = 256;          // for static costs, when --vocab does not say

std::string last_line(const std::string& path) {
  std::ifstream file(path);
  std::string line, last;
  while (std::getline(file, line))
    if (line.find_first_not_of(" \t\r") != std::string::npos) last = line;
  return printable(last.substr(0, 200));
}

void write_json(const std::filesystem::path& path, const Json& json) {
  write_file(path.string(), json.dump(2) + "\n");
}

// Runs a program of the user's for each candidate: the task as JSON files in a directory of its
// own, the curve and the result as JSON lines on its standard output
// (evaluator/evaluators/report.h).
class Command : public Evaluator {
 public:
  explicit Command(const EvaluatorOptions& options) : options_(options) {
    MOEBIUS_CHECK(options.catalog != nullptr, "[command] needs a catalog");
    if (options.command.empty()) bad_input("--command", "is required with --evaluator command");
    if (options_.vocab == 0) options_.vocab = kVocab;
  }

  std::int64_t vocab() const override { return options_.vocab; }
  // Of the name alone: only the program reads its data.
  std::string data_hash() const override { return hash_hex(options_.data); }
  // The program's memory is not known before it runs.
  Prepared prepare(const Candidate& candidate) const override {
    Prepared prepared;
    prepared.cost = cost(candidate.spec, options_.catalog->types, candidate.recipe, options_.vocab);
    return prepared;
  }
  bool compares_steps() const override { return false; }
  Outcome evaluate(const Candidate& candidate, const Prepared& prepared,
                   Observer& observer) override;

 private:
  class Run;
  EvaluatorOptions options_;
};

// One trial.
class Command::Run {
 public:
  Run(const EvaluatorOptions& options, const Candidate& candidate, const Cost& cost,
      Observer& observer);
  Outcome go();

 private:
  void write_task() const;
  void listen(Subprocess& process);
  void take(const std::string& line);
  void plan() { observer_.planned({.steps = steps_, .done = last_step()}); }
  std::int64_t last_step() const { return outcome_.curve.empty() ? 0 : outcome_.curve.back().step; }
  void point(const Json& json);
  void finish(const Subprocess::Status& status);
  void end(Ending ending, const std::string& message) {
    outcome_.ending = ending;
    outcome_.message = message;
    ended_ = true;
  }

  const EvaluatorOptions& options_;
  const Candidate& candidate_;
  Observer& observer_;
  const Cost& cost_;
  std::filesystem::path directory_;
  std::int64_t steps_ = 0;  // 0 = not known
  std::int64_t lines_ = 0;
  Json final_;
  Outcome outcome_;
  bool ended_ = false;  // outcome_ is settled
};

Command::Run::Run(const EvaluatorOptions& options, const Candidate& candidate, const Cost& cost,
                  Observer& observer)
    : options_(options),
      candidate_(candidate),
      observer_(observer),
      cost_(cost),
      directory_(std::filesystem::absolute(candidate.directory.empty() ? kDirectory
                                                                       : candidate.directory) /
                 fmt::format("trial-{}-a{}", candidate.trial, candidate.attempt)),
      steps_(candidate.fixed_steps) {
  if (steps_ == 0 && !candidate.budget.timed())
    steps_ = steps_of(candidate.budget, {cost_.tokens, cost_.step_flops, 0});
  put_cost(cost_, outcome_.measurement);
}

void Command::Run::write_task() const {
  std::error_code error;
  std::filesystem::create_directories(directory_, error);
  if (error) throw Error(Exit::Storage, directory_.string() + ": " + error.message());
  const Budget& budget = candidate_.budget;
  const std::string group = rate_group(candidate_.spec, options_.catalog->types);
  write_json(directory_ / "spec.json", to_json(candidate_.spec));
  write_json(directory_ / "recipe.json", to_json(candidate_.recipe));
  write_json(directory_ / "budget.json", {{"text", to_string(budget)},
                                          {"amount", budget.amount},
                                          {"timed", budget.timed()},
                                          {"steps", steps_ > 0 ? Json(steps_) : Json(nullptr)}});
  write_json(directory_ / "task.json", {{"format", "moebius.task/1"},
                                        {"trial", candidate_.trial},
                                        {"attempt", candidate_.attempt},
                                        {"seed", candidate_.seed},
                                        {"family", group},
                                        {"lr", candidate_.recipe.rate(group)},
                                        {"vocab", options_.vocab},
                                        {"data", options_.data},
                                        {"checkpoint", candidate_.checkpoint},
                                        {"keep_weights", candidate_.keep_weights}});
}

void Command::Run::point(const Json& json) {
  CurvePoint point;
  point.step = count_or(json, "step", 0);
  point.valid_loss = number_or(json, "loss", std::nan(""));
  point.train_loss = number_or(json, "train_loss", std::nan(""));
  point.cpu_seconds = number_or(json, "seconds", 0);
  if (point.step <= last_step())
    return end(Ending::Failed, fmt::format("line {} of its output: step {} after step {}", lines_,
                                           point.step, last_step()));
  outcome_.curve.push_back(point);
  if (const std::string why = observer_.point(point, steps_); !why.empty())
    end(Ending::Pruned, why);
}

void Command::Run::take(const std::string& line) {
  ++lines_;
  if (line.find_first_not_of(" \t\r") == std::string::npos) return;
  const Report report = read_report(line);
  switch (report.kind) {
    case Report::Kind::Steps:
      steps_ = count_or(report.json, "steps", 0);
      return plan();
    case Report::Kind::Point:
      return point(report.json);
    case Report::Kind::Final:
      final_ = report.json;
      return;
    case Report::Kind::NotFinite:
      return end(Ending::Diverged, fmt::format("a loss that is not finite in line {}", lines_));
    case Report::Kind::Bad:
      return end(Ending::Failed, fmt::format("line {} of its output: {}; got: '{}'", lines_,
                                             report.why, printable(line.substr(0, 80))));
  }
}

void Command::Run::listen(Subprocess& process) {
  const double start = wall_seconds();
  std::string line;
  while (!ended_) {
    if (observer_.stop()) return end(Ending::Stopped, "stopped");
    if (options_.timeout_seconds > 0 && wall_seconds() - start > options_.timeout_seconds)
      return end(Ending::Failed, fmt::format("timed out after {} s", options_.timeout_seconds));
    const auto read = process.read_line(line, kPollMilliseconds);
    if (read == Subprocess::Read::End) break;
    if (read == Subprocess::Read::TooLong)
      return end(Ending::Failed, "a line of more than 1 MiB in its output");
    if (read == Subprocess::Read::Line) take(line);
  }
}

// The outcome of a program that ended by itself.
void Command::Run::finish(const Subprocess::Status& status) {
  if (status.signalled || status.code != 0) {
    const std::string talk = last_line((directory_ / "stderr.txt").string());
    return end(Ending::Failed, status.text() + (talk.empty() ? "" : "; it said: " + talk));
  }
  if (final_.is_null()) return end(Ending::Failed, "ended without a final result");
  if (final_.contains("ending")) {
    for (const Ending ending :
         {Ending::Diverged, Ending::Infeasible, Ending::OutOfMemory, Ending::Failed})
      if (final_["ending"] == ending_text(ending)) {
        const Json message = final_.value("message", Json("reported by the program"));
        return end(ending, printable(message.is_string() ? message.get_ref<const std::string&>()
                                                         : message.dump()));
      }
    return end(Ending::Failed, "unknown ending " + printable(final_["ending"].dump()));
  }
  Measurement& measurement = outcome_.measurement;
  const double loss = number_or(final_, "loss", std::nan(""));
  if (!std::isfinite(loss)) return end(Ending::Diverged, "final loss is not finite");
  measurement.loss = loss;
  measurement.native_loss = number_or(final_, "native_loss", std::nan(""));
  measurement.bits_per_byte = number_or(final_, "bits_per_byte", std::nan(""));
  measurement.step_seconds = number_or(final_, "step_seconds", std::nan(""));
  measurement.parameters = count_or(final_, "parameters", measurement.parameters);
  measurement.peak_bytes = count_or(final_, "peak_bytes", 0);
  measurement.causal = causality_text(
      causality(candidate_.spec, options_.catalog->types,
                {candidate_.recipe.micro_batch, candidate_.recipe.seq, candidate_.spec.d_model}));
  measurement.result_hash = hash_hex(final_.dump());
  end(Ending::Done, "");
}

Outcome Command::Run::go() {
  write_task();
  if (steps_ > 0) plan();
  const std::map<std::string, std::string> environment = {
      {"MOEBIUS_TRIAL_DIR", directory_.string()},
      {"MOEBIUS_TRIAL", std::to_string(candidate_.trial)},
      {"MOEBIUS_ATTEMPT", std::to_string(candidate_.attempt)},
      {"MOEBIUS_SEED", std::to_string(candidate_.seed)},
      {"MOEBIUS_STEPS", steps_ > 0 ? std::to_string(steps_) : ""},
      {"MOEBIUS_DATA", options_.data}};
  Subprocess process(options_.command, environment, (directory_ / "stderr.txt").string());
  const double start = wall_seconds();
  listen(process);
  outcome_.measurement.wall_seconds = wall_seconds() - start;
  if (ended_) process.terminate(kGraceSeconds);
  const Subprocess::Status status = process.wait();
  Measurement& measurement = outcome_.measurement;
  measurement.cpu_seconds = status.cpu_seconds;
  const std::int64_t done =
      final_.is_object() ? count_or(final_, "steps", std::max(last_step(), steps_)) : last_step();
  put_training(cost_, done, measurement);
  if (final_.is_object())
    put_tokens(cost_, count_or(final_, "tokens", measurement.tokens), measurement);
  if (!ended_) finish(status);
  if (outcome_.ending != Ending::Done) put_stop(outcome_.curve, done, measurement);
  return std::move(outcome_);
}

Outcome Command::evaluate(const Candidate& candidate, const Prepared& prepared,
                          Observer& observer) {
  return Run(options_, candidate, prepared.cost, observer).go();
}

}  // namespace

EvaluatorPlugin evaluators_command() {
  return {"runs a program of yours: JSON files in, JSON lines out",
          [](const EvaluatorOptions& options) { return std::make_unique<Command>(options); }};
}

}  // namespace moebius
