#include "search/commands/session.h"
#include "search/report/table.h"
#include "search/samplers/sampler.h"

namespace moebius {
namespace {

Json description(const Session& session, const Trial& trial, const Candidate& candidate) {
  return {{"study", session.db().study},
          {"number", trial.number},
          {"trial", trial.number},  // the word of earlier releases
          {"attempt", trial.attempt},
          {"role", role_text(trial.role)},
          {"block", notation(trial.spec, layer_types())},
          {"spec", to_json(trial.spec)},
          {"recipe", to_json(candidate.recipe)},
          {"budget", to_string(candidate.budget)},
          {"seed", candidate.seed}};
}

int run(SessionRequest request) {
  // A study named by --space is made, or found; without, an existing one.
  const bool there = request.space.empty();
  if (there) add_seeds(request.study, request.seed_from);
  const std::unique_ptr<Session> session =
      there ? Session::reopen(request.db, request.data, request.study, true)
            : Session::open(request);
  const Study::Asked asked = session->study().ask();
  if (asked.trial) {
    const Candidate candidate = session->study().candidate(*asked.trial);
    print_out(description(*session, *asked.trial, candidate).dump() + "\n");
    return 0;
  }
  const Json none = {{"study", session->db().study},
                     {"number", nullptr},
                     {"trial", nullptr},
                     {"wait", !asked.complete}};
  print_out(none.dump() + "\n");
  return static_cast<int>(asked.complete ? Exit::Done : Exit::Requeue);
}

}  // namespace

Command commands_ask() {
  return {"claims the next trial of a study and prints it as JSON, for a trainer of your own",
          [](Args& args) -> std::function<int()> {
            auto request = std::make_shared<SessionRequest>();
            StudyRequest& study = request->study;
            study.elsewhere = true;
            args.example("moebius ask --space brainformer-nano --budget 300ktok --study mine");
            args.example("moebius ask --study mine");
            args.example("moebius tell 0 --study mine --loss 2.31");
            describe(args, request->db);
            args.option("--space NAME|FILE", request->space, "makes the study (first use)");
            describe_study(args, study.given,
                           {"evaluator", "command", "timeout", "backend", "stopper", "confirm"});
            args.option("--sampler-option NAME=VALUE", study.sampler_options,
                        option_help(samplers()));
            args.option("--baseline BLOCK", study.baselines, "instead of the space's (first use)");
            args.option("--seed-from BLOCK", request->seed_from, "to try first (first use)");
            describe_recipe(args, study.recipe);
            return [request] { return run(*request); };
          }};
}

}  // namespace moebius
