#include <algorithm>
#include <atomic>
#include <cmath>
#include <filesystem>
#include <map>
#include <mutex>
#include <new>
#include <numbers>

#include "evaluator/corpus/corpus.h"
#include "evaluator/corpus/tokenizer.h"
#include "evaluator/evaluator.h"
#include "evaluator/training/account.h"
#include "evaluator/training/probe.h"
#include "evaluator/training/step_time.h"
#include "evaluator/training/trainer.h"
#include "model/learner.h"
#include "space/base/log.h"
#include "space/base/memory.h"
#include "space/base/units.h"

namespace moebius {
namespace {

constexpr double kTimingSeconds = 2;  // CPU seconds of a step-time measurement, at most
constexpr double kTimingShare = 0.1;  // of a budget in seconds, at most
constexpr double kManyEpochs = 2;     // above which a run repeats its data too often

// Trains a proxy language model on a corpus, in this process.
class Proxy : public Evaluator {
 public:
  explicit Proxy(const EvaluatorOptions& options);

  std::int64_t vocab() const override { return vocab_; }
  std::string data_hash() const override { return corpus_->hash(); }
  std::string precision() const override {
    const BackendPlugin& plugin = options_.catalog->backends.get(options_.backend);
    const Dtype operand = plugin.make(learner_options(0).backend_options)->operand();
    return operand == Dtype::BF16 ? "bf16" : "fp32";
  }
  void check(const Recipe& recipe) const override {
    check_windows(*corpus_, Split::Train, recipe.batch, recipe.seq);
    check_windows(*corpus_, Split::Validation, recipe.batch, recipe.seq);
  }
  Prepared prepare(const Candidate& candidate) const override;
  double step_seconds(const Spec& spec, const Recipe& recipe, bool wall) override;
  Outcome evaluate(const Candidate& candidate, const Prepared& prepared,
                   Observer& observer) override;

 private:
  LearnerOptions learner_options(std::uint64_t seed) const {
    return {options_.backend, {options_.precision, options_.threads}, seed};
  }
  MemoryPlan plan(const Spec& spec, const Recipe& recipe) const {
    return Learner::plan(spec, recipe, vocab_, learner_options(0), *options_.catalog);
  }
  std::unique_ptr<Learner> learner(const Spec& spec, const Recipe& recipe,
                                   std::uint64_t seed) const {
    return std::make_unique<Learner>(spec, recipe, vocab_, learner_options(seed),
                                     *options_.catalog);
  }
  bool measures(const Candidate& candidate) const;
  bool routes(const Spec& spec) const;
  void plan_memory(const Candidate& candidate, Prepared& prepared) const;
  std::int64_t baseline_bytes(const Spec& spec, const Recipe& recipe) const;
  Json identity(const Candidate& candidate) const;
  Progress begin(const Candidate& candidate, const Cost& cost, StepRatio& ratio) const;
  std::unique_ptr<Learner> start(const Candidate& candidate, Progress& progress) const;
  void judge(const Candidate& candidate, const Prepared& prepared, Observer& observer,
             Outcome& outcome) const;
  void finish(const Candidate& candidate, Learner& learner, Observer& observer,
              Outcome& outcome) const;

  EvaluatorOptions options_;
  std::shared_ptr<const Corpus> corpus_;
  std::int64_t vocab_;
  mutable std::atomic<bool> warned_{false};
  mutable std::mutex mutex_;
  mutable std::map<std::string, std::int64_t> baseline_bytes_;  // by block and recipe
};

Proxy::Proxy(const EvaluatorOptions& options) : options_(options) {
  MOEBIUS_CHECK(options.catalog != nullptr, "[proxy] needs a catalog");
  if (options.data.empty())
    bad_input("--data", "is required", "a text file, a directory, a .bin, or builtin");
  corpus_ = Corpus::open(options.data, options.tokenizer);
  vocab_ = std::max(options.vocab, corpus_->vocab());
  if (options.vocab > 0 && options.vocab < corpus_->vocab())
    bad_input("--vocab", "fewer than the corpus has",
              "at least " + std::to_string(corpus_->vocab()), std::to_string(options.vocab));
}

// Whether the candidate's step must be timed beside the baseline's.
bool Proxy::measures(const Candidate& candidate) const {
  return candidate.fixed_steps == 0 && candidate.budget.timed() && candidate.baseline &&
         candidate.baseline->spec != candidate.spec;
}

bool Proxy::routes(const Spec& spec) const {
  return std::any_of(spec.sublayers.begin(), spec.sublayers.end(), [&](const SubLayer& it) {
    return options_.catalog->types.get(it.type).routes;
  });
}

// Every trial of a study is timed beside the same block.
std::int64_t Proxy::baseline_bytes(const Spec& spec, const Recipe& recipe) const {
  const std::string key = spec_hash(spec) + json_hash(to_json(recipe));
  const std::lock_guard lock(mutex_);
  const auto found = baseline_bytes_.find(key);
  if (found != baseline_bytes_.end()) return found->second;
  return baseline_bytes_[key] = plan(spec, recipe).total();
}

void Proxy::plan_memory(const Candidate& candidate, Prepared& prepared) const {
  const Recipe& recipe = candidate.recipe;
  const MemoryPlan memory = plan(candidate.spec, recipe);
  std::int64_t beside = probe_bytes(recipe, vocab_) + recipe.tokens() * 32;  // windows, losses
  if (measures(candidate))
    beside = std::max(beside, baseline_bytes(candidate.baseline->spec, recipe));
  prepared.peak_bytes = memory.total() + beside;
  prepared.parts = fmt::format(
      "parameters {}, gradients {}, optimizer {}, activations {}, workspace {}, evaluation and "
      "timing {}",
      bytes_text(memory.parameters), bytes_text(memory.gradients), bytes_text(memory.optimizer),
      bytes_text(memory.arena), bytes_text(memory.workspace), bytes_text(beside));
}

Prepared Proxy::prepare(const Candidate& candidate) const {
  Prepared prepared;
  prepared.message = why_illegal(candidate.spec, options_.catalog->types, candidate.recipe);
  if (!prepared.message.empty()) {
    prepared.ending = Ending::Infeasible;
    return prepared;
  }
  prepared.cost = cost(candidate.spec, options_.catalog->types, candidate.recipe, vocab_);
  try {
    plan_memory(candidate, prepared);
  } catch (const std::bad_alloc&) {
    prepared.ending = Ending::OutOfMemory;
    prepared.message = "the system refused memory for the plan of the trial";
  }
  return prepared;
}

double Proxy::step_seconds(const Spec& spec, const Recipe& recipe, bool wall) {
  check(recipe);
  return time_steps(*learner(spec, recipe, 0),
                    {*corpus_, recipe, kTimingSeconds, options_.threads, wall});
}

Json Proxy::identity(const Candidate& candidate) const {
  return {{"block", spec_hash(candidate.spec)},
          {"recipe", json_hash(to_json(candidate.recipe))},
          {"seed", std::to_string(candidate.seed)},
          {"budget", to_string(candidate.budget)},
          {"data", corpus_->hash()},
          {"vocab", vocab_},
          {"backend", options_.backend},
          {"precision", options_.precision}};
}

// The progress left in the checkpoint; else step 0 of as many steps as the budget pays for.
Progress Proxy::begin(const Candidate& candidate, const Cost& cost, StepRatio& ratio) const {
  if (auto saved = checkpoint_progress(candidate.checkpoint, identity(candidate))) return *saved;
  Progress progress;
  if (candidate.fixed_steps > 0) {
    progress.steps = candidate.fixed_steps;
    progress.step_ratio = candidate.fixed_ratio;
    return progress;
  }
  const Budget& budget = candidate.budget;
  const Recipe& recipe = candidate.recipe;
  StepCost step{cost.tokens, cost.step_flops, 0};
  if (budget.timed()) {
    const Timing timing{*corpus_, recipe, std::min(kTimingSeconds, kTimingShare * budget.amount),
                        options_.threads, budget.unit == Budget::Unit::Wall};
    const double stored = candidate.baseline ? candidate.baseline->step_seconds : 0;
    if (measures(candidate)) {
      ratio = compare_steps(*learner(candidate.spec, recipe, 0),
                            *learner(candidate.baseline->spec, recipe, 0), timing);
      progress.step_ratio = ratio.median;
      step.seconds = stored * ratio.median;
    } else if (stored > 0) {
      step.seconds = stored;
      progress.step_ratio = 1;
    } else {
      step.seconds = time_steps(*learner(candidate.spec, recipe, 0), timing);
    }
  }
  progress.steps = steps_of(budget, step);
  return progress;
}

// The learner at progress.step; at step 0 when the checkpoint's tensors cannot be used.
std::unique_ptr<Learner> Proxy::start(const Candidate& candidate, Progress& progress) const {
  auto fresh = learner(candidate.spec, candidate.recipe, candidate.seed);
  if (progress.step == 0) return fresh;
  try {
    const std::int64_t step = fresh->restore(candidate.checkpoint, true);
    MOEBIUS_CHECK(step == progress.step, "[proxy] {}: tensors of step {}, progress of step {}",
                  candidate.checkpoint, step, progress.step);
    return fresh;
  } catch (const Error& trouble) {
    warn("{}; starting again from step 0", trouble.what());
  }
  Progress again;
  again.steps = progress.steps;
  again.step_ratio = progress.step_ratio;
  progress = again;
  fresh.reset();
  return learner(candidate.spec, candidate.recipe, candidate.seed);
}

void Proxy::finish(const Candidate& candidate, Learner& learner, Observer& observer,
                   Outcome& outcome) const {
  const Recipe& recipe = candidate.recipe;
  Measurement& measurement = outcome.measurement;
  const std::int64_t batches = evaluation_batches(*corpus_, Split::Validation, recipe);
  const auto loss_in = [&](Mode mode) {
    return mean_loss(learner, *corpus_, Split::Validation, recipe, batches, mode);
  };
  const double loss = loss_in(Mode::Causal);
  const Causality declared = causality(candidate.spec, options_.catalog->types,
                                       {recipe.micro_batch, recipe.seq, candidate.spec.d_model});
  const Probed probed = probe_causality(learner, *corpus_, recipe);
  measurement.causal =
      causality_text(stored_causality(probed.training, declared, measurement.dropped_pairs > 0));
  measurement.ranked_causal = causality_text(measured_causality(probed.ranked));
  const std::string contradiction = why_not_as_declared(probed, declared);
  if (!std::isfinite(loss) || !contradiction.empty()) {
    outcome.ending = contradiction.empty() ? Ending::Diverged : Ending::Failed;
    outcome.message = contradiction.empty() ? fmt::format("final loss {}", loss) : contradiction;
    return put_stop(outcome.curve, measurement.steps, measurement);
  }
  measurement.loss = loss;
  // Without a router both modes are one, and one evaluation gives both losses.
  measurement.native_loss = routes(candidate.spec) ? loss_in(Mode::Native) : loss;
  measurement.bits_per_byte =
      loss / std::numbers::ln2 / corpus_->bytes_per_token(Split::Validation);
  measurement.result_hash = result_hash(learner, outcome.curve, loss);
  if (candidate.keep_weights.empty() || !observer.wants_weights(loss)) return;
  const auto tokenizer = corpus_->tokenizer();
  const Json metadata = {{"block", to_json(candidate.spec)},
                         {"recipe", to_json(recipe)},
                         {"vocab", vocab_},
                         {"tokenizer", tokenizer ? tokenizer->source() : ""},
                         {"loss", loss},
                         {"result_hash", measurement.result_hash}};
  learner.save(candidate.keep_weights, measurement.steps, false, metadata.dump());
}

void Proxy::judge(const Candidate& candidate, const Prepared& prepared, Observer& observer,
                  Outcome& outcome) const {
  Measurement& measurement = outcome.measurement;
  const auto end = [&](Ending ending, const std::string& message) {
    outcome.ending = ending;
    outcome.message = message;
  };
  const std::int64_t limit = options_.memory_limit > 0 ? options_.memory_limit : free_memory();
  if (prepared.peak_bytes > limit)
    return end(Ending::OutOfMemory,
               fmt::format("needs {}: {}; limit {}", bytes_text(prepared.peak_bytes),
                           prepared.parts, bytes_text(limit)));
  const Cost& cost = prepared.cost;
  StepRatio ratio;
  Progress progress = begin(candidate, cost, ratio);
  measurement.step_ratio = progress.step_ratio;
  if (const auto why = why_too_slow(ratio, candidate.max_step_ratio); !why.empty())
    return end(Ending::Infeasible, why);
  observer.planned({progress.steps, progress.step, progress.step_ratio});

  const auto learner = start(candidate, progress);
  const TrainPlan plan{candidate.seed, candidate.checkpoint, candidate.checkpoint_seconds,
                       identity(candidate), options_.threads};
  const TrainResult result = train(*learner, *corpus_, candidate.recipe, plan, progress, observer);
  end(result.ending, result.message);
  outcome.curve = progress.curve;
  put_training(cost, progress.step, measurement);
  measurement.epochs =
      static_cast<double>(measurement.tokens) / static_cast<double>(corpus_->size(Split::Train));
  if (measurement.epochs > kManyEpochs && !warned_.exchange(true))
    warn("{:.1f} passes over the training text; more than {} favour memorisers", measurement.epochs,
         kManyEpochs);
  const auto done = static_cast<double>(std::max<std::int64_t>(1, progress.step));
  measurement.kept_pairs = progress.kept / done;
  measurement.dropped_pairs = progress.dropped / done;
  measurement.cpu_seconds = progress.cpu_seconds;
  measurement.wall_seconds = progress.wall_seconds;
  measurement.step_seconds = result.step_seconds;
  if (result.ending == Ending::Done)
    finish(candidate, *learner, observer, outcome);
  else
    put_stop(outcome.curve, progress.step, measurement);
}

Outcome Proxy::evaluate(const Candidate& candidate, const Prepared& prepared, Observer& observer) {
  check(candidate.recipe);
  Outcome outcome = refused(prepared);
  if (prepared.ending) return outcome;
  try {
    judge(candidate, prepared, observer, outcome);
  } catch (const std::bad_alloc&) {
    outcome.ending = Ending::OutOfMemory;
    outcome.message = "the system refused " + bytes_text(prepared.peak_bytes);
  }
  if (outcome.ending != Ending::Stopped && !candidate.checkpoint.empty()) {
    std::error_code error;  // the attempt may have ended before its first save
    std::filesystem::remove(candidate.checkpoint, error);
  }
  return outcome;
}

}  // namespace

EvaluatorPlugin evaluators_proxy() {
  return {"trains a proxy language model on a corpus, in this process",
          [](const EvaluatorOptions& options) { return std::make_unique<Proxy>(options); }};
}

}  // namespace moebius
