#include "evaluator/evaluator.h"
#include "model/catalog.h"

namespace moebius {
namespace {

constexpr std::int64_t kVocab = 64;

class Widths : public Evaluator {
 public:
  explicit Widths(const EvaluatorOptions& options) : catalog_(*options.catalog) {}

  std::int64_t vocab() const override { return kVocab; }
  std::string data_hash() const override { return "widths"; }
  Prepared prepare(const Candidate& candidate) const override {
    Prepared prepared;
    prepared.cost = cost(candidate.spec, catalog_.types, candidate.recipe, kVocab);
    return prepared;
  }
  Outcome evaluate(const Candidate& candidate, const Prepared& prepared,
                   Observer& observer) override {
    Outcome outcome = refused(prepared);
    const Spec& spec = candidate.spec;
    const double loss =
        static_cast<double>(spec.sublayers.size()) / static_cast<double>(spec.d_model);
    observer.planned({.steps = 1});
    outcome.curve = {{1, loss, loss, 0}};
    if (std::string why = observer.point(outcome.curve.back(), 1); !why.empty()) {
      outcome.ending = Ending::Pruned;
      outcome.message = why;
      return outcome;
    }
    outcome.ending = Ending::Done;
    outcome.measurement.loss = loss;
    outcome.measurement.causal = "yes";
    outcome.measurement.result_hash = fmt::format("{:a}", loss);
    return outcome;
  }

 private:
  const Catalog& catalog_;
};

}  // namespace

EvaluatorPlugin evaluators_widths() {
  return {"the number of sub-layers over the width",
          [](const EvaluatorOptions& options) { return std::make_unique<Widths>(options); }};
}

}  // namespace moebius
