#pragma once
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "model/gradients.h"
#include "model/model.h"
#include "model/optimizer.h"

namespace moebius {

// Bytes a learner takes, from a dry run of a micro-batch in every mode: the pre-flight.
struct MemoryPlan {
  std::int64_t parameters = 0, gradients = 0, optimizer = 0;
  std::int64_t arena = 0;  // peak of saved and scratch values over the modes, batch buffers
  // What the back-end takes itself (BackendPlugin::workspace_bytes), and host memory of families
  // that it lacks.
  std::int64_t workspace = 0;
  std::int64_t total() const { return parameters + gradients + optimizer + arena + workspace; }
  // Of one micro-batch of training, forward and backward: their FLOPs equal the static cost.
  std::vector<Operation> products;
  std::vector<Contributions> contributions;  // of the same micro-batch, by slot
};

struct LearnerOptions {
  std::string backend = "cpu";
  BackendOptions backend_options;
  std::uint64_t seed = 0;
};

struct StepResult {
  double loss = 0;           // mean over the step's tokens, nats; no auxiliary loss in it
  double gradient_norm = 0;  // before clipping
  // Load-balance loss and router z-loss: sums over the sub-layers that route, means over
  // micro-batches.
  double aux = 0, z = 0;
  double kept = 0, dropped = 0;  // (token, expert) pairs, summed over routers
};

// A model in training: parameters, optimizer state, arena and back-end of one trial. Knows nothing
// of corpora or budgets.
class Learner {
 public:
  // Error(BadInput) when the spec is illegal under the recipe; Error(Storage) never. Throws
  // std::bad_alloc when the plan does not fit: callers compare plan() with what is free first.
  Learner(const Spec& spec, const Recipe& recipe, std::int64_t vocab, const LearnerOptions& options,
          const Catalog& catalog);
  ~Learner();

  // Nothing is allocated for parameters: cheap for models of any size.
  static MemoryPlan plan(const Spec& spec, const Recipe& recipe, std::int64_t vocab,
                         const LearnerOptions& options, const Catalog& catalog);

  // One optimizer step t (0-based) of n on recipe.batch sequences of recipe.seq tokens, row by row;
  // all micro-batches.
  StepResult train(std::span<const std::int32_t> tokens, std::span<const std::int32_t> targets,
                   std::int64_t t, std::int64_t n);
  // One step without the update of weights (routing state follows), for tests: read gradients with
  // read_gradient. Not where some are not kept (Params::has_gradient).
  StepResult gradients(std::span<const std::int32_t> tokens, std::span<const std::int32_t> targets);
  // Loss of every token, no update; Mode::Causal or Mode::Native. The same B x S composition as
  // training.
  std::vector<double> evaluate(std::span<const std::int32_t> tokens,
                               std::span<const std::int32_t> targets, Mode mode);
  // Logits [T, V] of one micro-batch; Mode::Causal, or Mode::Native: the training routing without
  // following it.
  std::vector<double> logits(std::span<const std::int32_t> tokens, Mode mode);
  // (token, expert) pairs that the last evaluate() or logits() dropped for want of slots.
  double dropped() const;

  std::vector<double> read_value(const std::string& slot) const;
  std::vector<double> read_gradient(const std::string& slot) const;
  void write_value(const std::string& slot, std::span<const double> values);
  const Params& params() const;
  const MemoryPlan& memory() const;
  const Spec& spec() const;
  std::int64_t vocab() const;  // of the model, at least the corpus'
  Backend& backend();

  // Everything that the next step depends on, in one safetensors file (model/checkpoint.h): tensors
  // by slot name in the master type, optimizer state, the step count. The keys of the JSON object
  // `metadata_json` become metadata of the file: strings as they are, others as JSON text. restore
  // gives the same bits and returns the step; Error(Storage) when damaged or foreign.
  void save(const std::string& path, std::int64_t step, bool with_optimizer,
            const std::string& metadata_json) const;
  std::int64_t restore(const std::string& path, bool with_optimizer);

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace moebius
