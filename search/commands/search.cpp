#include <algorithm>

#include "evaluator/training/budget.h"
#include "search/commands/session.h"
#include "search/report/table.h"

namespace moebius {
namespace {

void describe_options(Args& args, StudyRequest& request) {
  args.option("--space NAME|FILE", request.space, "what may be built; see moebius space list");
  describe_parallel(args, request.data);
  describe(args, request.db);
  args.option("--trials N", request.trials, 0, 1'000'000, "search trials of the study");
  args.option("--budget BUDGET", request.budget,
              "of each trial: 500steps, 300ktok, 2e12flop, 20s (CPU), 20s:wall");
  args.option("--seed N", request.seed, 0, std::int64_t{1} << 62, "of the study");
  args.choice("--sampler", request.sampler, samplers().names(), "who proposes blocks");
  args.option("--lag N", request.lag, 1, 1024,
              "a proposal sees the results of trials this far back; at least --workers");
  args.choice("--evaluator", request.evaluator, evaluators().names(), "who judges blocks");
  args.option("--command PROGRAM", request.command, "the trainer of --evaluator command");
  args.option("--vocab N", request.data.vocab, 1, 1 << 24,
              "rows of the embedding table: the corpus' when left out, 256 with --command");
  args.option("--seed-from BLOCK", request.seed_from, "a block file or baseline to try first");
  args.option("--baseline BLOCK", request.baselines,
              "instead of the space's; the first one is the gate's");
  args.option("--baseline-seeds N", request.baseline_seeds, 1, 100, "seeds of each baseline");
  args.option("--gate-margin X", request.gate_margin, 0, 100,
              "nats that a block may be worse than the baseline at a quarter of the budget");
  describe(args, request.recipe);
}

int run(const StudyRequest& request) {
  const std::unique_ptr<Session> session = Session::open(request);
  const int code = session->run();
  if (code >= 128) return code;
  const History history = session->study().history();
  const Leaderboard board = leaderboard(history);
  print_leaderboard(board, session->db(), 10);
  print_out(verdict(board, layer_types()) + "\n");
  const std::string where = flags(session->db());
  if (code != 0)
    throw Error(Exit::NoUsableTrial,
                "no search trial has a loss; why: moebius trials --sort message" + where);
  const auto found = std::find_if(board.rows.begin(), board.rows.end(), [](const Standing& row) {
    return row.first().role == TrialRole::Search;
  });
  const std::int64_t best = found == board.rows.end() ? 0 : found->first().number;
  print_out(
      fmt::format("next: moebius show {}{}\n      moebius noise {}{} --seeds 3\n"
                  "      moebius export {}{} -o exports\n",
                  best, where, best, where, best, where));
  return 0;
}

}  // namespace

Command commands_search() {
  return {
      "searches a space; run it again to resume", [](Args& args) -> std::function<int()> {
        auto request = std::make_shared<StudyRequest>();
        args.example("moebius search --data my.txt --trials 40 --workers 2 --budget 20s");
        args.example("moebius search --space my-space.json --data my.txt --db r.db --study first");
        args.example("moebius search --evaluator command --command ./train.py --budget 300ktok");
        describe_options(args, *request);
        return [request] { return run(*request); };
      }};
}

}  // namespace moebius
