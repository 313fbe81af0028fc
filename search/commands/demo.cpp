#include <algorithm>
#include <cmath>

#include "search/commands/session.h"
#include "search/exporters/exporter.h"
#include "search/report/draw.h"
#include "search/results/store.h"
#include "space/base/log.h"
#include "space/base/units.h"

namespace moebius {
namespace {

constexpr char kSpace[] = "brainformer-nano";
// Trials are compared with the first one.
const std::vector<std::string> kBaselines = {"glam", "dense"};
constexpr std::int64_t kSearchTrials = 12, kBaselineSeeds = 3;
constexpr std::int64_t kEvalTokens = 32768;
// Beside its training steps a trial evaluates 8 times 8 batches and the final ones; a forward pass
// costs a third of a step.
constexpr std::int64_t kInterimBatches = 8 * 8;
constexpr double kLeastSteps = 20;

struct Options {
  std::string data = "builtin", db = "runs/demo.db", out = "exports";
  std::int64_t workers = 2, seed = 1;
  double seconds = 60;
};

// "demo", or the first of demo-2, demo-3, .. that is free.
std::string free_study_name(const std::string& db) {
  if (!db_exists(db)) return "demo";
  const auto results = open_db(db, OpenMode::ReadOnly);
  for (std::int64_t i = 1;; ++i) {
    const std::string name = i == 1 ? "demo" : fmt::format("demo-{}", i);
    if (!results->find_study(name)) return name;
  }
}

struct Plan {
  std::string budget;
  double step_seconds = 0;
};

// The budget that lets all trials end in about `seconds`, from the measured step of the baseline.
Plan plan(const Options& options, const Space& space, const Recipe& recipe,
          const EvaluatorOptions& evaluator_options) {
  const auto evaluator = evaluators().get("proxy").make(evaluator_options);
  evaluator->check(recipe);
  Plan result;
  result.step_seconds =
      evaluator->step_seconds(space_baseline(space, kBaselines[0], layer_types()), recipe, false);
  const auto trials = static_cast<double>(
      kSearchTrials + kClaimSeeds + kBaselineSeeds * static_cast<std::int64_t>(kBaselines.size()));
  const double all = options.seconds * static_cast<double>(options.workers) / trials;
  const auto evaluated = static_cast<double>(kInterimBatches + 2 * kEvalTokens / recipe.tokens());
  const double seconds =
      std::max(kLeastSteps * result.step_seconds, all - evaluated / 3 * result.step_seconds);
  result.budget = fmt::format("{:.2f}s", std::max(0.01, seconds));
  return result;
}

SessionRequest request_of(const Options& options) {
  SessionRequest request;
  request.db = {options.db, free_study_name(options.db)};
  request.space = kSpace;
  request.data.data = options.data;
  request.data.workers = options.workers;
  request.study.recipe["eval_tokens"] = kEvalTokens;
  request.study.baselines = kBaselines;
  // No margin was measured for budgets as short as these: no trial is ended early.
  request.study.stopper_options = {"margin=100"};
  request.study.given = {
      {"trials", kSearchTrials}, {"baseline_seeds", kBaselineSeeds}, {"seed", options.seed}};
  return request;
}

std::string export_best(Session& session, const History& history, const Trial& best,
                        const std::string& directory) {
  const ExportSubject subject = export_subject(session.study().row(), history, best);
  return exporters().get("json").write(subject, directory, true);
}

int run(const Options& options) {
  SessionRequest request = request_of(options);
  const Space space = load_space(kSpace, layer_types());
  const Recipe recipe = changed(space.recipe(), request.study.recipe);
  info("corpus: {}", options.data == "builtin" ? "the built-in generator" : options.data);
  info("measuring one training step ..");
  const Plan planned = plan(options, space, recipe, evaluator_options(request.data, recipe));
  request.study.given["budget"] = planned.budget;
  info("a step of the {} baseline takes {}: {} of CPU time each, {} in all", kBaselines[0],
       seconds_text(planned.step_seconds), planned.budget, seconds_text(options.seconds));

  const std::unique_ptr<Session> session = Session::open(request);
  const std::string go_on = "moebius search" + flags(request.db);
  if (const int code = session->run(go_on); code != 0) return code;
  if (const int code = session->confirm(go_on); code != 0) return code;

  const History history = session->study().history();
  const Leaderboard board = leaderboard(history, 20);
  session->print(board);
  if (!board.verdict.subject) return static_cast<int>(Exit::NoUsableTrial);
  const Trial* best = history.find(board.verdict.subject->number);
  print_out(fmt::format("\nthe best block found, trial {}:\n\n{}", best->number,
                        draw_block(best->spec, layer_types(), terminal_charset())));
  const std::string where = flags(session->db());
  print_out(
      fmt::format("\nexported {}\nnext: moebius show {}{}\n      moebius query --db {} --sql "
                  "'select * from blocks'\n      moebius scale{} --top 3 --to 1B/64E "
                  "--plan\n",
                  export_best(*session, history, *best, options.out), best->number, where,
                  shell_quoted(options.db), where));
  return 0;
}

}  // namespace

Command commands_demo() {
  return {"a small search, start to end: about a minute on two cores",
          [](Args& args) -> std::function<int()> {
            auto options = std::make_shared<Options>();
            args.example("moebius demo");
            args.example("moebius demo --data my.txt --seconds 120");
            args.option("--data FILE|DIR|builtin", options->data, "text to train on");
            args.option("--seconds X", options->seconds, 1, 86400, "how long it may take, about");
            args.option("--workers N", options->workers, 1, 4, "trials at the same time");
            args.option("--seed N", options->seed, 0, std::int64_t{1} << 62, "of the study");
            args.option("--db PATH", options->db, "results database");
            args.option("-o,--out DIR", options->out, "where the best block is exported to");
            return [options] { return run(*options); };
          }};
}

}  // namespace moebius
