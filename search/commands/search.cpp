#include <algorithm>

#include "search/commands/session.h"
#include "search/report/table.h"
#include "search/samplers/sampler.h"
#include "search/stoppers/stopper.h"

namespace moebius {
namespace {

void describe_options(Args& args, SessionRequest& request) {
  args.option("--space NAME|FILE", request.space,
              "what may be built; the study's, or brainformer-nano; see moebius space list");
  describe_parallel(args, request.data);
  describe(args, request.db);
  StudyRequest& study = request.study;
  describe_study(args, study.given);
  args.option("--sampler-option NAME=VALUE", study.sampler_options, option_help(samplers()));
  args.option("--stopper-option NAME=VALUE", study.stopper_options, option_help(stoppers()));
  const Field margin{.name = "margin",
                     .kind = Field::Kind::Number,
                     .low = 0,
                     .high = 100,
                     .help = "older word for --stopper-option margin=X"};
  args.option("--gate-margin X", margin, [&study](const Value& value) {
    study.stopper_options.push_back("margin=" + value_text(value));
  });
  args.option("--seed-from BLOCK", request.seed_from, "a block file or baseline to try first");
  args.option("--baseline BLOCK", study.baselines,
              "instead of the space's; trials are compared with the first one");
  describe_recipe(args, study.recipe);
}

int run(const SessionRequest& request) {
  const std::unique_ptr<Session> session = Session::open(request);
  int code = session->run();
  if (code == 0) code = session->confirm();
  if (code >= 128) return code;
  const History history = session->study().history();
  const Leaderboard board = leaderboard(history, 10);
  session->print(board);
  const std::string where = flags(session->db());
  if (code != 0)
    throw Error(Exit::NoUsableTrial,
                "no search trial has a loss; why: moebius trials --sort message" + where);
  const std::int64_t best = board.verdict.subject ? board.verdict.subject->number : 0;
  print_out(fmt::format("next: moebius show {}{}\n      moebius export {}{} -o exports\n", best,
                        where, best, where));
  return 0;
}

}  // namespace

Command commands_search() {
  return {
      "searches a space; run it again to resume", [](Args& args) -> std::function<int()> {
        auto request = std::make_shared<SessionRequest>();
        args.example("moebius search --data my.txt --trials 40 --workers 2 --budget 20s");
        args.example("moebius search --space my-space.json --data my.txt --db r.db --study first");
        args.example("moebius search --db r.db --study first --trials 80");
        args.example("moebius search --evaluator command --command ./train.py --budget 300ktok");
        describe_options(args, *request);
        return [request] { return run(*request); };
      }};
}

}  // namespace moebius
