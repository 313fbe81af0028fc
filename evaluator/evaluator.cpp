#include "evaluator/evaluator.h"

#include <limits>

#include "evaluator/training/account.h"

namespace moebius {

#define PLUGIN(name) EvaluatorPlugin evaluators_##name();
#include "evaluator/evaluators.def"
#undef PLUGIN

const Registry<EvaluatorPlugin>& evaluators() {
  static const Registry<EvaluatorPlugin> registry = [] {
    Registry<EvaluatorPlugin> all("evaluator");
#define PLUGIN(name) all.add(#name, evaluators_##name());
#include "evaluator/evaluators.def"
#undef PLUGIN
    return all;
  }();
  return registry;
}

Outcome refused(const Prepared& prepared) {
  Outcome outcome;
  outcome.ending = prepared.ending.value_or(Ending::Failed);
  outcome.message = prepared.message;
  put_cost(prepared.cost, outcome.measurement);
  outcome.measurement.peak_bytes = prepared.peak_bytes;
  return outcome;
}

std::string ending_text(Ending ending) {
  switch (ending) {
    case Ending::Done:
      return "done";
    case Ending::Pruned:
      return "pruned";
    case Ending::Diverged:
      return "diverged";
    case Ending::Infeasible:
      return "infeasible";
    case Ending::OutOfMemory:
      return "out_of_memory";
    case Ending::Failed:
      return "failed";
    case Ending::Stopped:
      return "stopped";
  }
  return "failed";
}

}  // namespace moebius
