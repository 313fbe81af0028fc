// coordinate_check   how a step of each optimizer moves with the width of what it trains
//
// A block trains for some steps at each of four sizes. Then, matrix by matrix, the trained values
// of one kind alone replace the initial ones, and the change of their sub-layer's output counts,
// over the RMS of that output at first (2203.03466, appendix D.1). A rule for rates that carries
// over between sizes keeps this number level: its slope, of the logarithms, is near zero. Three
// axes: the model width D with all others in proportion; the hidden widths alone; the heads alone.
// CSV on stdout: a row a size with the change of weights (RMS over RMS) and of outputs, and the
// slopes.

#include <fmt/format.h>

#include <cmath>
#include <map>
#include <memory>

#include "evaluator/corpus/corpus.h"
#include "model/catalog.h"
#include "model/learner.h"
#include "model/numbers.h"
#include "space/scale.h"

namespace moebius {
namespace {

constexpr std::int64_t kWidth = 64, kHeadWidth = 16, kBatch = 16, kSeq = 64, kSteps = 10;
constexpr std::uint64_t kSeeds = 3;
constexpr const char* kWatched = "watched ";

std::vector<std::vector<double>> outputs;  // of each sub-layer in the last forward pass

class Watched : public Layer {
 public:
  explicit Watched(std::unique_ptr<Layer> layer) : layer_(std::move(layer)) {}
  const void* forward(Step& step, View h, View y) const override {
    const void* context = layer_->forward(step, h, y);
    if (!step.training() && !step.arena.dry())
      outputs.push_back(read_numbers(step.backend.memory, y));
    return context;
  }
  void backward(Step& step, const void* context, View h, View dy, View dh) const override {
    layer_->backward(step, context, h, dy, dh);
  }
  void end_step(Backend& backend) const override { layer_->end_step(backend); }

 private:
  std::unique_ptr<Layer> layer_;
};

// Every layer a second time, with its outputs watched.
const Catalog& catalog() {
  static const Catalog all([](Catalog& more) {
    for (const std::string& name : more.layers.names()) {
      const LayerPlugin plain = more.layers.get(name);
      LayerPlugin watched;
      watched.type = [plain, name](const Catalog& from) {
        LayerType type = plain.type(from);
        type.name = kWatched + name;
        return type;
      };
      watched.make = [plain](const Fields& fields, const LayerSite& site, Params& params,
                             const Catalog& from) -> std::unique_ptr<Layer> {
        return std::make_unique<Watched>(plain.make(fields, site, params, from));
      };
      more.layers.add(kWatched + name, watched);
    }
  });
  return all;
}

struct Size {
  double width = 1, hidden = 1, heads = 1;  // times those of the block at kWidth
};

Spec spec_of(const Size& size) {
  const Scale row{.name = "check",
                  .d_model = std::llround(size.width * kWidth),
                  .head_dim = kHeadWidth,
                  .sublayers = 4,
                  .experts = 4,
                  .seq = kSeq,
                  .batch = kBatch,
                  .vocab = 256};
  Spec spec = baseline("glam-dropless", row, catalog().types);
  for (SubLayer& sublayer : spec.sublayers) {
    for (const Field& field : catalog().types.get(sublayer.type).fields) {
      const double factor = field.iso_flops                   ? size.hidden
                            : field.scaling == Scaling::Heads ? size.heads
                                                              : 1;
      auto* count = std::get_if<std::int64_t>(&sublayer.fields.at(field.name));
      if (count != nullptr) *count = std::llround(factor * static_cast<double>(*count));
    }
    sublayer.type = kWatched + sublayer.type;
  }
  return spec;
}

double rms(const std::vector<double>& x) {
  double sum = 0;
  for (const double value : x) sum += value * value;
  return std::sqrt(sum / static_cast<double>(x.size()));
}

double change(const std::vector<double>& before, std::vector<double> after) {
  for (std::size_t i = 0; i < after.size(); ++i) after[i] -= before[i];
  return rms(after) / rms(before);
}

struct Change {
  double weights = 0, output = 0;  // means over matrices of a kind and over seeds
  int count = 0;
};
using Changes = std::map<std::string, Change>;  // by the last word of a matrix' name

std::string kind_of(const ParamSlot& slot) { return slot.name.substr(slot.name.rfind('.') + 1); }
std::size_t sublayer_of(const std::string& slot) {  // "stack.0.sublayer.3.x"
  constexpr const char* kMark = "sublayer.";
  return static_cast<std::size_t>(std::stoll(slot.substr(slot.find(kMark) + 9)));
}

void measure(const Spec& spec, Recipe recipe, std::uint64_t seed, Changes& changes) {
  static const auto corpus = Corpus::open("builtin", "");
  const LearnerOptions options{.backend_options = {.precision = "fp32"}, .seed = seed};
  Learner trained(spec, recipe, corpus->vocab(), options, catalog());
  Learner first(spec, recipe, corpus->vocab(), options, catalog());
  TokenWindows batch;
  for (std::int64_t t = 0; t < kSteps; ++t) {
    corpus->train_batch(seed, t, kBatch, kSeq, batch);
    trained.train(batch.tokens, batch.targets, t, kSteps);
  }
  corpus->fixed_batch(Split::Validation, 0, kBatch, kSeq, batch);
  const auto look = [&] {
    outputs.clear();
    first.logits(batch.tokens, Mode::Causal);
    return outputs;
  };
  const auto before = look();
  for (const ParamSlot& slot : first.params().slots()) {
    if (slot.role != Role::Hidden && slot.role != Role::Router) continue;
    const std::vector<double> initial = first.read_value(slot.name);
    const std::vector<double> values = trained.read_value(slot.name);
    first.write_value(slot.name, values);
    const std::size_t at = sublayer_of(slot.name);
    Change& it = changes[kind_of(slot)];
    it.weights += change(initial, values);
    it.output += change(before.at(at), look().at(at));
    ++it.count;
    first.write_value(slot.name, initial);
  }
}

double slope(const std::vector<double>& x, const std::vector<double>& y) {
  double mx = 0, my = 0, xy = 0, xx = 0;
  const auto n = static_cast<double>(x.size());
  for (std::size_t i = 0; i < x.size(); ++i) mx += std::log(x[i]) / n, my += std::log(y[i]) / n;
  for (std::size_t i = 0; i < x.size(); ++i) {
    xy += (std::log(x[i]) - mx) * (std::log(y[i]) - my);
    xx += (std::log(x[i]) - mx) * (std::log(x[i]) - mx);
  }
  return xy / xx;
}

struct Axis {
  const char* name;
  double Size::*along;
  std::vector<double> factors;
};

void check(const std::string& label, Recipe recipe) {
  recipe.batch = recipe.micro_batch = kBatch;
  recipe.seq = kSeq;
  recipe.lr_width = kWidth;
  recipe.schedule = "wsd";
  recipe.warmup = recipe.decay = 0;
  for (const Axis& axis : {Axis{"width", &Size::width, {0.5, 1, 2, 4}},
                           Axis{"hidden", &Size::hidden, {0.25, 0.5, 1, 2}},
                           Axis{"heads", &Size::heads, {0.5, 1, 2, 4}}}) {
    std::vector<Changes> all;
    for (const double factor : axis.factors) {
      Size size;
      size.*axis.along = factor;
      Changes& changes = all.emplace_back();
      for (std::uint64_t seed = 1; seed <= kSeeds; ++seed)
        measure(spec_of(size), recipe, seed, changes);
    }
    for (const auto& [kind, unused] : all.front()) {
      std::vector<double> weights, output;
      for (std::size_t i = 0; i < all.size(); ++i) {
        const Change& it = all[i].at(kind);
        weights.push_back(it.weights / it.count);
        output.push_back(it.output / it.count);
        fmt::print("{},{},{},{},{:.5f},{:.5f}\n", label, axis.name, axis.factors[i], kind,
                   weights.back(), output.back());
      }
      fmt::print("{},{},slope,{},{:+.2f},{:+.2f}\n", label, axis.name, kind,
                 slope(axis.factors, weights), slope(axis.factors, output));
    }
  }
}

Recipe recipe_of(const std::string& optimizer, double rate, const std::string& scale) {
  Recipe recipe;
  recipe.optimizer = optimizer;
  recipe.lr = {{kDefaultRates, rate}};
  recipe.update_scale = scale;
  return recipe;
}

}  // namespace
}  // namespace moebius

int main() {
  using namespace moebius;
  fmt::print("optimizer,axis,factor,matrix,weight_change,output_change\n");
  check("adamw", recipe_of("adamw", 1e-3, "none"));
  check("adafactor", recipe_of("adafactor", 1e-3, "none"));
  check("adafactor of parameter scale", recipe_of("adafactor", 1e-2, "parameter"));
}
