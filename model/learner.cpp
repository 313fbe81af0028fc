#include "model/learner.h"

#include <algorithm>
#include <array>
#include <charconv>
#include <cmath>
#include <new>

#include "model/checkpoint.h"
#include "model/learner_memory.h"
#include "model/numbers.h"
#include "model/schedule.h"
#include "space/base/json.h"
#include "space/base/rng.h"
#include "space/base/text.h"

namespace moebius {
namespace {

constexpr const char* kFormat = "moebius.checkpoint/1";
constexpr std::size_t kDropped = 3;  // of the statistics

// Of a step, by slot.
std::vector<int> expected_contributions(const MemoryPlan& plan, const Recipe& recipe) {
  const auto micro_batches = static_cast<int>(recipe.batch / recipe.micro_batch);
  std::vector<int> expected;
  for (const Contributions& of_slot : plan.contributions)
    expected.push_back(of_slot.count * micro_batches);
  return expected;
}

}  // namespace

struct Learner::Impl {
  struct Trained {
    Weight weight;
    std::span<const View> state;  // of the optimizer
  };

  Impl(const Spec& spec_in, const Recipe& recipe_in, std::int64_t vocab,
       const LearnerOptions& options, const Catalog& catalog);

  std::byte* take(std::int64_t bytes);
  Step step(Mode mode);
  void upload(View view, std::span<const std::int32_t> values);
  double micro_batches() const;
  StepResult accumulate(std::span<const std::int32_t> tokens,
                        std::span<const std::int32_t> targets);
  double gradient_norm();
  std::array<double, 4> read_statistics();  // see RoutingKernels::router_losses
  UpdateRate rate_of(Weight weight, std::int64_t t, double rate) const;
  void update(const Trained& it, const UpdateRate& rate, double norm);
  Weight find(const std::string& slot) const;
  std::vector<Tensor> tensors(bool with_optimizer) const;

  Spec spec;
  Recipe recipe;
  MemoryPlan memory;
  TokenShape shape;  // of a micro-batch
  double lr;
  std::unique_ptr<Backend> backend;
  std::unique_ptr<Optimizer> optimizer;
  Params params;
  Model model;
  std::vector<Trained> trained;  // all parameters that gradients change
  std::vector<StateSlot> slots;  // of the optimizer
  LastingBuffers buffers;
  Arena arena;
  StepGradients gradients;
  View logits;                 // [T, V], taken when first asked for
  std::vector<double> losses;  // of a micro-batch, on the host
};

Learner::Impl::Impl(const Spec& spec_in, const Recipe& recipe_in, std::int64_t vocab,
                    const LearnerOptions& options, const Catalog& catalog)
    : spec(spec_in),
      recipe(recipe_in),
      memory(Learner::plan(spec, recipe, vocab, options, catalog)),
      shape(micro_shape(spec, recipe)),
      lr(recipe.rate(rate_group(spec, catalog.types))),
      backend(catalog.backends.get(options.backend).make(options.backend_options)),
      optimizer(make_optimizer(recipe, catalog.optimizers)),
      model(spec, shape, vocab, catalog, params),
      slots(state_slots(recipe.optimizer, *optimizer, params)),
      gradients(params, expected_contributions(memory, recipe)),
      losses(static_cast<std::size_t>(shape.tokens())) {
  drop_gradients(params, recipe, memory.contributions, *backend, *optimizer);
  std::byte* values = take(memory.parameters);
  params.attach(backend->dtype(), values, take(memory.gradients));
  Arena lasting(take(memory.optimizer), memory.optimizer);
  buffers = lasting_buffers(lasting, backend->dtype(), slots, shape.tokens());
  arena = Arena(take(memory.arena), memory.arena);
  backend->bind(params, gradients);
  std::span<const View> state = buffers.state;
  for (int i = 0; i < static_cast<int>(params.slots().size()); ++i) {
    const ParamSlot& slot = params.slot({i});
    backend->memory.initialise(params.value({i}), slot, derive_key(options.seed, slot.name));
    if (!is_trained(slot.role)) continue;
    const std::size_t count = optimizer->state(slot).size();
    trained.push_back({.weight = {i}, .state = state.first(count)});
    state = state.subspan(count);
  }
  backend->memory.weights_changed();
}

std::byte* Learner::Impl::take(std::int64_t bytes) {
  std::byte* const base = backend->memory.allocate(bytes);
  if (base == nullptr) throw std::bad_alloc();
  return base;
}

double Learner::Impl::micro_batches() const {
  return static_cast<double>(recipe.batch / recipe.micro_batch);
}

// Router losses are added up over sub-layers: each MoE layer adds its own, as in Switch
// (2101.03961, 2.2) and GShard (2006.16668, algorithm 1), and the z-loss of ST-MoE (2202.08906)
// likewise. A mean would press a router less the more of them its block has.
Step Learner::Impl::step(Mode mode) {
  return {.backend = *backend,
          .arena = arena,
          .shape = shape,
          .mode = mode,
          .statistics = buffers.statistics,
          .aux = recipe.aux / micro_batches(),
          .z = recipe.z / micro_batches()};
}

void Learner::Impl::upload(View view, std::span<const std::int32_t> values) {
  for (const std::int32_t value : values)
    MOEBIUS_CHECK(value >= 0 && value < model.vocab(), "[learner] token {} of a vocabulary of {}",
                  value, model.vocab());
  backend->memory.write(view, values.data());
}

// Gradients of the mean loss over all micro-batches of a step, after gradients.begin().
StepResult Learner::Impl::accumulate(std::span<const std::int32_t> tokens,
                                     std::span<const std::int32_t> targets) {
  const auto all = static_cast<std::size_t>(recipe.tokens());
  MOEBIUS_CHECK(tokens.size() == all && targets.size() == all,
                "[learner] a step has {} tokens, not {} with {} targets", all, tokens.size(),
                targets.size());
  for (const Trained& it : trained)
    if (!gradients.expects(it.weight)) backend->memory.fill(params.gradient(it.weight), 0);
  backend->memory.fill(buffers.norm2, 0);
  backend->memory.fill(buffers.statistics, 0);
  const auto rows = static_cast<std::size_t>(shape.tokens());
  const double loss_scale = 1 / static_cast<double>(all);
  Step training = step(Mode::Train);
  double loss = 0;
  for (std::size_t begin = 0; begin < all; begin += rows) {
    upload(buffers.batch.token, tokens.subspan(begin, rows));
    upload(buffers.batch.target, targets.subspan(begin, rows));
    model.run(training, buffers.batch, loss_scale, buffers.loss);
    backend->memory.read(buffers.loss, losses.data());
    for (const double value : losses) loss += value;
  }
  gradients.end();
  const std::array<double, 4> statistics = read_statistics();
  return {.loss = loss * loss_scale,
          .gradient_norm = gradient_norm(),
          .aux = statistics[0] / micro_batches(),
          .z = statistics[1] / micro_batches(),
          .kept = statistics[2],
          .dropped = statistics[kDropped]};
}

std::array<double, 4> Learner::Impl::read_statistics() {
  std::array<double, 4> statistics;
  backend->memory.read(buffers.statistics, statistics.data());
  return statistics;
}

// Over all gradients; those that the backward pass used up are in norm2 already.
double Learner::Impl::gradient_norm() {
  for (const Trained& it : trained)
    if (params.has_gradient(it.weight)) backend->update.squared_norm(it.weight, buffers.norm2);
  double norm2 = 0;
  backend->memory.read(buffers.norm2, &norm2);
  return std::sqrt(norm2);
}

// What the recipe means for one tensor at step t (1-based): hidden matrices train at a rate by
// their fan-in, vectors without weight decay.
UpdateRate Learner::Impl::rate_of(Weight weight, std::int64_t t, double rate) const {
  const ParamSlot& slot = params.slot(weight);
  return {.t = t,
          .lr = slot.role == Role::Hidden ? recipe.hidden_rate(rate, slot.rows) : rate,
          .decay = slot.role == Role::Vector ? 0 : recipe.weight_decay};
}

// By a gradient that is complete and kept; `norm` is that of all gradients.
void Learner::Impl::update(const Trained& it, const UpdateRate& rate, double norm) {
  if (const std::optional<Rule> rule = optimizer->rule(rate))
    return backend->update.apply(it.weight, {*rule, it.state}, buffers.norm2, recipe.clip);
  const double scale = recipe.clip > 0 ? std::min(1.0, recipe.clip / norm) : 1;
  optimizer->update(*backend,
                    {.slot = params.slot(it.weight),
                     .value = params.value(it.weight),
                     .gradient = params.gradient(it.weight),
                     .state = it.state,
                     .scale = scale},
                    rate);
}

Weight Learner::Impl::find(const std::string& slot) const {
  for (std::size_t i = 0; i < params.slots().size(); ++i)
    if (params.slots()[i].name == slot) return Weight{static_cast<int>(i)};
  throw Error(Exit::Bug, "[learner] no parameter is called '" + slot + "'");
}

std::vector<Tensor> Learner::Impl::tensors(bool with_optimizer) const {
  std::vector<Tensor> result = parameter_tensors(params);
  if (!with_optimizer) return result;
  for (Tensor& tensor : state_tensors(slots, buffers.state)) result.push_back(std::move(tensor));
  return result;
}

Learner::Learner(const Spec& spec, const Recipe& recipe, std::int64_t vocab,
                 const LearnerOptions& options, const Catalog& catalog)
    : impl_(std::make_unique<Impl>(spec, recipe, vocab, options, catalog)) {}

Learner::~Learner() = default;

StepResult Learner::train(std::span<const std::int32_t> tokens,
                          std::span<const std::int32_t> targets, std::int64_t t, std::int64_t n) {
  Impl& m = *impl_;
  const double rate = m.lr * schedule(m.recipe, t, n);
  m.gradients.begin();
  for (const Impl::Trained& it : m.trained)
    if (!m.params.has_gradient(it.weight))
      m.gradients.update_at_once(it.weight,
                                 {*m.optimizer->rule(m.rate_of(it.weight, t + 1, rate)), it.state},
                                 m.buffers.norm2);
  const StepResult result = m.accumulate(tokens, targets);
  for (const Impl::Trained& it : m.trained)
    if (m.params.has_gradient(it.weight))
      m.update(it, m.rate_of(it.weight, t + 1, rate), result.gradient_norm);
  m.model.end_step(*m.backend);
  m.backend->memory.weights_changed();
  return result;
}

StepResult Learner::gradients(std::span<const std::int32_t> tokens,
                              std::span<const std::int32_t> targets) {
  impl_->gradients.begin();
  const StepResult result = impl_->accumulate(tokens, targets);
  impl_->model.end_step(*impl_->backend);
  return result;
}

std::vector<double> Learner::evaluate(std::span<const std::int32_t> tokens,
                                      std::span<const std::int32_t> targets, Mode mode) {
  MOEBIUS_CHECK(mode != Mode::Train, "[learner] evaluation does not train");
  Impl& m = *impl_;
  const auto rows = static_cast<std::size_t>(m.shape.tokens());
  MOEBIUS_CHECK(
      tokens.size() % rows == 0 && tokens.size() == targets.size(),
      "[learner] evaluation takes whole micro-batches of {} tokens, not {} with {} targets", rows,
      tokens.size(), targets.size());
  Step step = m.step(mode);
  m.backend->memory.fill(m.buffers.statistics, 0);
  std::vector<double> losses;
  losses.reserve(tokens.size());
  for (std::size_t begin = 0; begin < tokens.size(); begin += rows) {
    m.upload(m.buffers.batch.token, tokens.subspan(begin, rows));
    m.upload(m.buffers.batch.target, targets.subspan(begin, rows));
    m.model.run(step, m.buffers.batch, 0, m.buffers.loss);
    m.backend->memory.read(m.buffers.loss, m.losses.data());
    losses.insert(losses.end(), m.losses.begin(), m.losses.end());
  }
  return losses;
}

std::vector<double> Learner::logits(std::span<const std::int32_t> tokens, Mode mode) {
  Impl& m = *impl_;
  const std::int64_t rows = m.shape.tokens(), vocab = m.model.vocab();
  MOEBIUS_CHECK(tokens.size() == static_cast<std::size_t>(rows),
                "[learner] logits take one micro-batch of {} tokens, not {}", rows, tokens.size());
  if (m.logits.empty()) {
    const Dtype dtype = m.backend->dtype();
    m.logits = {m.take(rows * vocab * size_of(dtype)), dtype, rows, vocab, vocab};
  }
  m.upload(m.buffers.batch.token, tokens);
  Step step = m.step(mode);
  m.backend->memory.fill(m.buffers.statistics, 0);
  m.model.logits(step, m.buffers.batch.token, m.logits);
  return read_numbers(m.backend->memory, m.logits);
}

double Learner::dropped() const { return impl_->read_statistics()[kDropped]; }

std::vector<double> Learner::read_value(const std::string& slot) const {
  return read_numbers(impl_->backend->memory, impl_->params.value(impl_->find(slot)));
}

std::vector<double> Learner::read_gradient(const std::string& slot) const {
  return read_numbers(impl_->backend->memory, impl_->params.gradient(impl_->find(slot)));
}

void Learner::write_value(const std::string& slot, std::span<const double> values) {
  const View view = impl_->params.value(impl_->find(slot));
  MOEBIUS_CHECK(values.size() == static_cast<std::size_t>(view.size()),
                "[learner] '{}' has {} values, not {}", slot, view.size(), values.size());
  write_numbers(impl_->backend->memory, view, values);
  impl_->backend->memory.weights_changed();
}

const Params& Learner::params() const { return impl_->params; }
const MemoryPlan& Learner::memory() const { return impl_->memory; }
const Spec& Learner::spec() const { return impl_->spec; }
std::int64_t Learner::vocab() const { return impl_->model.vocab(); }
Backend& Learner::backend() { return *impl_->backend; }

void Learner::save(const std::string& path, std::int64_t step, bool with_optimizer,
                   const std::string& metadata_json) const {
  std::map<std::string, std::string> metadata;
  const Json extra = metadata_json.empty() ? Json::object() : Json::parse(metadata_json);
  MOEBIUS_CHECK(extra.is_object(), "[learner] metadata must be a JSON object: {}", metadata_json);
  for (const auto& [key, value] : extra.items())
    metadata[key] = value.is_string() ? value.get<std::string>() : value.dump();
  metadata["checkpoint"] = kFormat;
  metadata["step"] = std::to_string(step);
  metadata["optimizer"] = impl_->recipe.optimizer;
  write_tensors(path, impl_->tensors(with_optimizer), metadata, *impl_->backend);
}

std::int64_t Learner::restore(const std::string& path, bool with_optimizer) {
  const std::map<std::string, std::string> metadata = SafetensorsFile(path).metadata();
  const auto value = [&](const std::string& key) {
    const auto found = metadata.find(key);
    if (found == metadata.end())
      throw Error(Exit::Storage, path + ": no checkpoint of ours: metadata lacks '" + key + "'");
    return found->second;
  };
  if (value("checkpoint") != kFormat)
    throw Error(Exit::Storage, path + ": checkpoint is " + printable(value("checkpoint")) +
                                   ", this program reads " + kFormat);
  const std::string count = value("step");
  std::int64_t step = 0;
  const auto [end, error] = std::from_chars(count.data(), count.data() + count.size(), step);
  if (error != std::errc() || end != count.data() + count.size() || step < 0)
    throw Error(Exit::Storage, path + ": step is no number: " + printable(count));
  read_tensors(path, impl_->tensors(with_optimizer), with_optimizer ? "" : value("optimizer") + ".",
               *impl_->backend);
  impl_->backend->memory.weights_changed();
  return step;
}

}  // namespace moebius
