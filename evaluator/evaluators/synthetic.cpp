#include <charconv>
#include <chrono>
#include <cmath>
#include <cstdlib>
#include <cstring>
#include <thread>

#include "evaluator/evaluator.h"
#include "evaluator/training/account.h"
#include "evaluator/training/step_time.h"
#include "model/catalog.h"
#include "space/base/hash.h"
#include "space/base/rng.h"

namespace moebius {
namespace {

constexpr std::int64_t kVocab = 256;
constexpr std::int64_t kCurvePoints = 16;
// Nats. No block is below kBest; the best ones are at most kRugged above it, by their hash.
constexpr double kBest = 2.0;
constexpr double kRugged = 0.02;
constexpr double kNoise = 0.005;  // standard deviation over seeds

// A number from an environment variable, for fault tests; 0 when it is not set.
double setting(const char* name, double high) {
  const char* text = std::getenv(name);
  if (text == nullptr) return 0;
  double value = 0;
  const auto [end, error] = std::from_chars(text, text + std::strlen(text), value);
  if (error != std::errc() || *end != '\0' || !(value >= 0 && value <= high))
    bad_input(name, "not a number in range", fmt::format("0..{}", high), text);
  return value;
}

double square(double x) { return x * x; }

// A function of the spec with a known lowest value, kBest: a quarter of the sub-layers mix tokens,
// three eighths route, no type next to itself, hidden widths 4 D, every real-valued field 2.
double features_loss(const Spec& spec, const LayerTypes& types) {
  const auto n = static_cast<double>(spec.sublayers.size());
  double mixers = 0, routers = 0, repeated = 0, width = 0, reals = 0;
  const SubLayer* last = nullptr;
  for (const SubLayer& layer : spec.sublayers) {
    const LayerType& type = types.get(layer.type);
    mixers += type.mixes_tokens;
    routers += type.routes;
    repeated += last != nullptr && last->type == layer.type;
    last = &layer;
    for (const Field& field : type.fields) {
      const Value& value = layer.fields.at(field.name);
      const auto* count = std::get_if<std::int64_t>(&value);
      const auto* real = std::get_if<double>(&value);
      if (count != nullptr && field.scaling == Scaling::Width)
        width +=
            square(std::log2(static_cast<double>(*count) / static_cast<double>(spec.d_model)) - 2);
      if (real != nullptr) reals += square(*real - 2);
    }
  }
  return kBest + 1.5 * square(mixers / n - 0.25) + square(routers / n - 0.375) +
         (0.05 * repeated + 0.05 * width + 0.02 * reals) / n;
}

// An analytic loss with noise and a learning curve, in microseconds and with no clock: for tests of
// the search. MOEBIUS_SYNTHETIC_MS sleeps so long in each trial, MOEBIUS_SYNTHETIC_NAN and _OOM
// make so many percent of the trials diverge or run out of memory.
class Synthetic : public Evaluator {
 public:
  explicit Synthetic(const EvaluatorOptions& options)
      : options_(options),
        milliseconds_(setting("MOEBIUS_SYNTHETIC_MS", 1e7)),
        nan_percent_(setting("MOEBIUS_SYNTHETIC_NAN", 100)),
        oom_percent_(setting("MOEBIUS_SYNTHETIC_OOM", 100)) {
    MOEBIUS_CHECK(options.catalog != nullptr, "[synthetic] needs a catalog");
  }

  std::int64_t vocab() const override { return kVocab; }
  std::string data_hash() const override { return "synthetic"; }
  Prepared prepare(const Candidate& candidate) const override {
    Prepared prepared;
    prepared.cost = cost(candidate.spec, options_.catalog->types, candidate.recipe, kVocab);
    prepared.peak_bytes = 1 << 20;
    return prepared;
  }
  // Seconds that a step would take: more for wider blocks and for routers. Budgets in seconds and
  // the step-time rule use them instead of a clock, so that they give the same search every time.
  double step_seconds(const Spec& spec, const Recipe& recipe, bool) override {
    double layers = 0;
    for (const SubLayer& layer : spec.sublayers) {
      const LayerType& type = options_.catalog->types.get(layer.type);
      layers += type.routes ? 1.4 : type.mixes_tokens ? 1.0 : 0.8;
    }
    return 1e-8 * static_cast<double>(spec.stacks) * layers * static_cast<double>(spec.d_model) *
           static_cast<double>(recipe.tokens());
  }
  Outcome evaluate(const Candidate& candidate, const Prepared& prepared,
                   Observer& observer) override;

 private:
  EvaluatorOptions options_;
  double milliseconds_, nan_percent_, oom_percent_;
};

Outcome Synthetic::evaluate(const Candidate& candidate, const Prepared& prepared,
                            Observer& observer) {
  const Spec& spec = candidate.spec;
  const Cost& static_cost = prepared.cost;
  Outcome outcome = refused(prepared);
  Measurement& measurement = outcome.measurement;
  measurement.step_seconds = step_seconds(spec, candidate.recipe, false);
  const Rng block(derive_key(0, spec_hash(spec)));
  Rng rng = block.split("seed", candidate.seed);
  const double nan_draw = 100 * rng.uniform(), oom_draw = 100 * rng.uniform();
  const auto end = [&](Ending ending, const std::string& message) {
    outcome.ending = ending;
    outcome.message = message;
    return outcome;
  };
  if (oom_draw < oom_percent_)
    return end(Ending::OutOfMemory, "asked for by MOEBIUS_SYNTHETIC_OOM");
  if (candidate.baseline && candidate.baseline->step_seconds > 0 && candidate.budget.timed()) {
    const double ratio = measurement.step_seconds / candidate.baseline->step_seconds;
    measurement.step_ratio = ratio;
    if (const auto why = why_too_slow({ratio, ratio, ratio, 1}, candidate.max_step_ratio);
        !why.empty())
      return end(Ending::Infeasible, why);
  }
  const StepCost step_cost{static_cost.tokens, static_cost.step_flops, measurement.step_seconds};
  const std::int64_t steps =
      candidate.fixed_steps > 0 ? candidate.fixed_steps : steps_of(candidate.budget, step_cost);
  observer.planned({steps, 0, measurement.step_ratio});

  Rng rugged = block.split("rugged");
  const double asymptote = features_loss(spec, options_.catalog->types) +
                           kRugged * rugged.uniform() + kNoise * rng.normal();
  const auto loss_at = [&](std::int64_t step) {
    return asymptote + (std::log(kVocab) - kBest) / (1 + static_cast<double>(step) / 10);
  };
  for (std::int64_t i = 1; i <= kCurvePoints; ++i) {
    std::this_thread::sleep_for(std::chrono::duration<double, std::milli>(
        milliseconds_ / static_cast<double>(kCurvePoints)));
    if (observer.stop()) return end(Ending::Stopped, "stopped");
    const std::int64_t step = (i * steps + kCurvePoints - 1) / kCurvePoints;
    if (!outcome.curve.empty() && outcome.curve.back().step == step) continue;
    put_training(static_cost, step, measurement);
    measurement.cpu_seconds = measurement.wall_seconds =
        measurement.step_seconds * static_cast<double>(step);
    if (nan_draw < nan_percent_ && 2 * step >= steps) {
      put_stop(outcome.curve, step, measurement);
      return end(Ending::Diverged, fmt::format("loss nan at step {} of {}", step, steps));
    }
    const double loss = loss_at(step);
    outcome.curve.push_back({step, loss, loss, measurement.cpu_seconds});
    if (const auto why = observer.point(outcome.curve.back(), steps); !why.empty()) {
      put_stop(outcome.curve, step, measurement);
      return end(Ending::Pruned, why);
    }
  }
  measurement.loss = measurement.native_loss = loss_at(steps);
  measurement.bits_per_byte = measurement.loss / std::log(2.0);
  measurement.causal = causality_text(Causality::Yes);
  measurement.result_hash = hash_hex(fmt::format("{:a}", measurement.loss));
  return end(Ending::Done, "");
}

}  // namespace

EvaluatorPlugin evaluators_synthetic() {
  return {"an analytic loss in microseconds, for tests and benchmarks of the search",
          [](const EvaluatorOptions& options) { return std::make_unique<Synthetic>(options); }};
}

}  // namespace moebius
