#include "model/model.h"

#include <cmath>
#include <utility>

namespace moebius {
namespace {

constexpr double kEmbeddingStddev = 0.02;

Weight declare_gain(Params& params, const std::string& name, std::int64_t width) {
  return params.declare(
      {.name = name, .rows = 1, .cols = width, .role = Role::Vector, .init = Init::constant(1)});
}

Weight declare_table(Params& params, const std::string& name, std::int64_t rows,
                     std::int64_t width) {
  return params.declare({.name = name,
                         .rows = rows,
                         .cols = width,
                         .role = Role::Embedding,
                         .init = Init::normal(kEmbeddingStddev)});
}

}  // namespace

struct Model::Site {
  Weight gain;  // [1, D]
  std::unique_ptr<Layer> layer;
};

struct Model::Normed {
  View x, h, rstd;  // the residual stream [T, D], norm(x) [T, D], [T, 1]
};

struct Model::Saved {
  const Site* site = nullptr;
  Normed in;
  const void* context = nullptr;  // of the layer
  const Saved* previous = nullptr;
};

Model::Model(const Spec& spec, const TokenShape& shape, std::int64_t vocab, const Catalog& catalog,
             Params& params)
    : spec_(spec), vocab_(vocab) {
  const std::int64_t width = spec.d_model;
  table_ = declare_table(params, "embedding.table", vocab, width);
  if (learns_positions(spec, catalog.types))
    positions_ = declare_table(params, "embedding.positions", shape.seq, width);
  const double residual_scale = 1 / std::sqrt(2 * static_cast<double>(spec.depth()));
  for (std::int64_t stack = 0; stack < spec.stacks; ++stack) {
    for (std::size_t j = 0; j < spec.sublayers.size(); ++j) {
      const SubLayer& sublayer = spec.sublayers[j];
      const LayerPlugin& plugin = catalog.layers.get(sublayer.type);
      const std::string name = fmt::format("stack.{}.sublayer.{}", stack, j);
      Site site;
      site.gain = declare_gain(params, name + ".norm.gain", width);
      site.layer = plugin.make(sublayer.fields, {name + "." + sublayer.type, width, residual_scale},
                               params, catalog);
      sites_.push_back(std::move(site));
    }
  }
  final_gain_ = declare_gain(params, "final.gain", width);
}

Model::~Model() = default;

// x += residual, and its norm.
Model::Normed Model::norm(Step& step, View x, View residual, Weight gain) {
  const Normed result = {x, step.keep(x.rows, x.cols), step.keep_exact(x.rows, 1)};
  step.backend.elementwise.rms_norm(x, residual, gain, result.h, result.rstd);
  return result;
}

Model::Normed Model::forward(Step& step, View token, const Saved** last) const {
  step.tokens = token;
  const std::int64_t rows = step.shape.tokens(), width = spec_.d_model;
  View x = step.arena.save(step.backend.dtype(), rows, width);
  step.backend.elementwise.embed(token, step.shape.seq, table_, positions_, x);
  View residual;  // what the next norm adds to x
  View y = step.training() ? View{} : step.scratch_exact(rows, width);
  for (const Site& site : sites_) {
    const Arena::Scope scope(step.arena);
    Saved& saved = step.arena.context<Saved>();
    saved.site = &site;
    saved.in = norm(step, x, residual, site.gain);
    if (step.training()) y = step.keep_exact(rows, width);
    saved.context = site.layer->forward(step, saved.in.h, y);
    residual = y;
    if (!step.training()) continue;
    std::swap(x, residual);  // backward needs x, so the stream goes on in y
    saved.previous = *last;
    *last = &saved;
  }
  return norm(step, x, residual, final_gain_);
}

void Model::run(Step& step, const TokenBatch& batch, double loss_scale, View loss) const {
  step.arena.reset();
  const Arena::Scope scope(step.arena);
  Backend& backend = step.backend;
  const std::int64_t rows = step.shape.tokens(), width = spec_.d_model;
  const Saved* last = nullptr;
  const Normed out = forward(step, batch.token, &last);
  if (!step.training())
    return backend.loss.cross_entropy(out.h, table_, batch.target, 0, loss, View{});

  const View dh = step.scratch_exact(rows, width);  // of the norm's output, sub-layer by sub-layer
  const View dx = step.scratch_exact(rows, width);  // of the residual stream
  // x' = x + f(norm(x)): the stream's gradient passes on unchanged and, rounded, is f's dy.
  const bool exact = dx.dtype == backend.operand();
  const View rounded = exact ? View{} : step.scratch(rows, width), dy = exact ? dx : rounded;
  backend.loss.cross_entropy(out.h, table_, batch.target, loss_scale, loss, dh);
  backend.memory.fill(dx, 0);
  backend.elementwise.rms_norm_backward(out.x, final_gain_, out.rstd, dh, dx, rounded);
  for (const Saved* saved = last; saved != nullptr; saved = saved->previous) {
    const Normed& in = saved->in;
    saved->site->layer->backward(step, saved->context, in.h, dy, dh);
    const bool first = saved->previous == nullptr;  // the embedding takes dx as it is
    backend.elementwise.rms_norm_backward(in.x, saved->site->gain, in.rstd, dh, dx,
                                          first ? View{} : rounded);
  }
  backend.elementwise.embed_backward(batch.token, step.shape.seq, dx, table_, positions_);
}

void Model::end_step(Backend& backend) const {
  for (const Site& site : sites_) site.layer->end_step(backend);
}

void Model::logits(Step& step, View token, View logits) const {
  MOEBIUS_CHECK(!step.training(), "[model] logits are for evaluation modes");
  step.arena.reset();
  const Arena::Scope scope(step.arena);
  const Normed out = forward(step, token, nullptr);
  step.backend.products.matmul_transposed(out.h, table_, logits);
}

}  // namespace moebius
