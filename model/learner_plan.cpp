// What can be said of a learner before it exists: legality and memory.

#include "model/learner.h"
#include "model/learner_memory.h"
#include "model/schedule.h"
#include "space/cost.h"

namespace moebius {
namespace {

// Spec and recipe, before anything is made of them.
void check_inputs(const Spec& spec, const Recipe& recipe, std::int64_t vocab,
                  const Catalog& catalog) {
  const std::string reason = why_illegal(spec, catalog.types, recipe);
  if (!reason.empty()) throw Error(Exit::BadInput, "block:" + reason);
  cost(spec, catalog.types, recipe, vocab);  // bounds the parameters, so that no size overflows
  make_optimizer(recipe, catalog.optimizers);
  schedule(recipe, 0, 1);  // names the known ones when it is none of them
  recipe.rate(rate_group(spec, catalog.types));
}

const char* precision_of(Dtype operand) {
  switch (operand) {
    case Dtype::F64:
      return "f64";
    case Dtype::BF16:
      return "bf16";
    default:
      return "fp32";
  }
}

}  // namespace

MemoryPlan Learner::plan(const Spec& spec, const Recipe& recipe, std::int64_t vocab,
                         const LearnerOptions& options, const Catalog& catalog) {
  check_inputs(spec, recipe, vocab, catalog);
  const BackendPlugin& plugin = catalog.backends.get(options.backend);
  const std::unique_ptr<Backend> backend = plugin.make(options.backend_options);
  const Dtype dtype = backend->dtype();
  const TokenShape shape = micro_shape(spec, recipe);
  Params params;
  const Model model(spec, shape, vocab, catalog, params);
  const std::unique_ptr<Optimizer> optimizer = make_optimizer(recipe, catalog.optimizers);
  const std::unique_ptr<Backend> dry =
      catalog.backends.get("dry").make({.precision = precision_of(backend->operand())});
  GradientCount count(params);
  dry->bind(params, count);

  MemoryPlan plan;
  Arena lasting;
  const LastingBuffers buffers = lasting_buffers(
      lasting, dtype, state_slots(recipe.optimizer, *optimizer, params), shape.tokens());
  plan.optimizer = lasting.peak();
  Arena arena;
  for (const Mode mode : {Mode::Train, Mode::Native, Mode::Causal}) {
    Step step{.backend = *dry,
              .arena = arena,
              .shape = shape,
              .mode = mode,
              .statistics = buffers.statistics};
    model.run(step, buffers.batch, 1, buffers.loss);
    if (mode == Mode::Train) plan.products = dry->logged_products();
  }
  plan.arena = arena.peak();
  plan.contributions = count.counts();
  drop_gradients(params, recipe, plan.contributions, *backend, *optimizer);
  plan.parameters = params.value_size() * size_of(dtype);
  plan.gradients = params.gradient_size() * size_of(dtype);
  if (plugin.workspace_bytes)
    plan.workspace = plugin.workspace_bytes(params, plan.products, options.backend_options);
  plan.workspace += backend->fallback_bytes(params);
  return plan;
}

}  // namespace moebius
