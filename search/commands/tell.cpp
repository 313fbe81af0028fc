#include <cmath>
#include <limits>

#include "evaluator/training/account.h"
#include "search/commands/session.h"
#include "search/report/table.h"
#include "space/cost.h"

namespace moebius {
namespace {

constexpr double kNone = std::numeric_limits<double>::quiet_NaN();

struct Options {
  DbOptions db;
  std::string trial, ending, message, causal;
  double loss = kNone, native_loss = kNone, stopped_loss = kNone, seconds = kNone,
         step_seconds = kNone;
  std::int64_t steps = 0;
};

// The endings that a trainer may report; "done" goes without saying when there is a loss.
const std::vector<std::pair<std::string, Ending>> kEndings = {
    {"done", Ending::Done},
    {"pruned", Ending::Pruned},
    {"diverged", Ending::Diverged},
    {"infeasible", Ending::Infeasible},
    {"out_of_memory", Ending::OutOfMemory},
    {"failed", Ending::Failed}};

std::vector<std::string> ending_names() {
  std::vector<std::string> names;
  for (const auto& entry : kEndings) names.push_back(entry.first);
  return names;
}

Outcome outcome_of(const Options& options, const Spec& spec, const Session& session) {
  Outcome outcome;
  outcome.ending = Ending::Done;
  for (const auto& [name, ending] : kEndings)
    if (name == options.ending) outcome.ending = ending;
  const bool done = outcome.ending == Ending::Done;
  if (done && !std::isfinite(options.loss))
    bad_input("--loss", "is required, or --ending", join(ending_names(), ", "));
  if (!done && std::isfinite(options.loss))
    bad_input("--loss", "only a trial that is done has a loss; see --stopped-loss", "",
              options.ending);
  outcome.message = options.message;
  Measurement& measurement = outcome.measurement;
  const Cost each = cost(spec, layer_types(), session.config().recipe, session.config().vocab);
  put_cost(each, measurement);
  if (options.steps > 0) put_training(each, options.steps, measurement);
  measurement.loss = options.loss;
  measurement.native_loss = options.native_loss;
  measurement.stopped_loss = options.stopped_loss;
  measurement.stopped_step = done ? 0 : options.steps;
  measurement.causal = options.causal;
  measurement.step_seconds = options.step_seconds;
  if (std::isfinite(options.seconds)) measurement.wall_seconds = options.seconds;
  return outcome;
}

int run(const Options& options) {
  StudyRequest request;
  request.elsewhere = true;
  const std::unique_ptr<Session> session = Session::reopen(options.db, {}, request, false);
  const History history = session->study().history();
  const Trial& trial = pick_trial(history, options.trial);
  if (trial.state != TrialState::Running)
    bad_input("TRIAL", "only a trial that was asked for can be told", "running",
              state_text(trial.state));
  const Outcome outcome = outcome_of(options, trial.spec, *session);
  session->study().tell(trial, outcome);
  print_out(fmt::format("trial {} {}\n", trial.number, ending_text(outcome.ending)));
  return 0;
}

}  // namespace

Command commands_tell() {
  return {
      "records the result of a trial that ask gave out", [](Args& args) -> std::function<int()> {
        auto options = std::make_shared<Options>();
        args.example("moebius tell 12 --study mine --loss 2.31 --steps 500");
        args.example("moebius tell 13 --study mine --ending diverged --message 'NaN at 40'");
        args.positional("TRIAL", options->trial, true, "its number");
        describe(args, options->db);
        args.option("--loss X", options->loss, -1e9, 1e9,
                    "final causal validation loss, nats per token");
        args.choice("--ending", options->ending, ending_names(), "how it ended; done with --loss");
        args.option("--message TEXT", options->message, "why");
        args.option("--steps N", options->steps, 1, std::int64_t{1} << 50, "steps trained");
        args.option("--native-loss X", options->native_loss, -1e9, 1e9,
                    "loss with the training routing");
        args.option("--stopped-loss X", options->stopped_loss, -1e9, 1e9,
                    "last validation loss of a trial that did not finish");
        args.option("--seconds X", options->seconds, 0, 1e12, "wall time of training");
        args.option("--step-seconds X", options->step_seconds, 0, 1e9, "of one step, median");
        args.choice("--causal", options->causal, {"yes", "drops", "selection"},
                    "what the model's logits see");
        return [options] { return run(*options); };
      }};
}

}  // namespace moebius
