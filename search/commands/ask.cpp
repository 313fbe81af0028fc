#include "search/commands/session.h"
#include "search/report/table.h"

namespace moebius {
namespace {

struct Options {
  StudyRequest request;
  std::int64_t trials = 0;
};

Json description(const Session& session, const Trial& trial, const Candidate& candidate) {
  return {{"study", session.db().study},
          {"trial", trial.number},
          {"attempt", trial.attempt},
          {"role", role_text(trial.role)},
          {"block", notation(trial.spec, layer_types())},
          {"spec", to_json(trial.spec)},
          {"recipe", to_json(candidate.recipe)},
          {"budget", to_string(candidate.budget)},
          {"seed", candidate.seed}};
}

// A study named by --space is made (or found with equal settings); without, an existing one.
std::unique_ptr<Session> session_of(Options options) {
  StudyRequest& request = options.request;
  if (request.space.empty()) return Session::reopen(request.db, request.data, true, options.trials);
  if (options.trials > 0) request.trials = options.trials;
  return Session::open(request);
}

int run(const Options& options) {
  const std::unique_ptr<Session> session = session_of(options);
  bool wait = false;
  const std::optional<Trial> trial = session->study().ask(wait);
  if (trial) {
    const Candidate candidate = session->study().candidate(*trial);
    print_out(description(*session, *trial, candidate).dump() + "\n");
    return 0;
  }
  const Json none = {{"study", session->db().study}, {"trial", nullptr}, {"wait", wait}};
  print_out(none.dump() + "\n");
  return static_cast<int>(wait ? Exit::Requeue : Exit::Done);
}

}  // namespace

Command commands_ask() {
  return {"claims the next trial of a study and prints it as JSON, for a trainer of your own",
          [](Args& args) -> std::function<int()> {
            auto options = std::make_shared<Options>();
            StudyRequest& request = options->request;
            request.space.clear();
            request.evaluator = "external";
            request.service = true;
            args.example("moebius ask --space brainformer-nano --budget 300ktok --study mine");
            args.example("moebius ask --study mine");
            args.example("moebius tell 0 --study mine --loss 2.31");
            describe(args, request.db);
            args.option("--space NAME|FILE", request.space, "makes the study (first use)");
            args.option("--budget BUDGET", request.budget, "of each trial (first use)");
            args.option("--trials N", options->trials, 1, 1'000'000,
                        "search trials of the study; 100 when made without");
            args.option("--seed N", request.seed, 0, std::int64_t{1} << 62, "first use");
            args.choice("--sampler", request.sampler, samplers().names(), "first use");
            args.option("--lag N", request.lag, 1, 1024, "first use");
            args.option("--vocab N", request.data.vocab, 1, 1 << 24,
                        "of your trainer, for costs (first use); the scale row's when left out");
            args.option("--baseline BLOCK", request.baselines,
                        "instead of the space's (first use)");
            args.option("--seed-from BLOCK", request.seed_from, "to try first (first use)");
            describe(args, request.recipe);
            return [options] { return run(*options); };
          }};
}

}  // namespace moebius
