#include <benchmark/benchmark.h>

#include <cstdint>
#include <string>
#include <vector>

#include "model/catalog.h"
#include "model/learner.h"
#include "space/base/rng.h"
#include "space/scale.h"
#include "space/space.h"

// Whole optimizer steps and single sub-layers on the cpu back-end, one thread. Tokens and FLOPs per
// CPU second are reported as counters; compare them within one run only.

namespace moebius {
namespace {

const Catalog& catalog() {
  static const Catalog all;
  return all;
}

Recipe bench_recipe(const Scale& row) {
  Recipe recipe = load_space("brainformer-nano", catalog().types).recipe();
  recipe.batch = recipe.micro_batch = row.batch;
  recipe.seq = row.seq;
  return recipe;
}

// One train step of `spec` again and again on random bytes.
void train_steps(benchmark::State& state, const Spec& spec, const Recipe& recipe) {
  const std::int64_t vocab = 256;
  Learner learner(spec, recipe, vocab, {}, catalog());
  std::vector<std::int32_t> tokens(static_cast<std::size_t>(recipe.tokens())),
      targets(tokens.size());
  Rng rng(1);
  for (auto& token : tokens) token = static_cast<std::int32_t>(rng.below(256));
  for (auto& target : targets) target = static_cast<std::int32_t>(rng.below(256));
  std::int64_t t = 0;
  for (auto _ : state) {
    StepResult result = learner.train(tokens, targets, t++, 1'000'000);
    benchmark::DoNotOptimize(result.loss);
  }
  const double steps = static_cast<double>(state.iterations());
  const double flops = cost(spec, catalog().types, recipe, vocab).step_flops;
  state.counters["tokens/s"] =
      benchmark::Counter(steps * static_cast<double>(recipe.tokens()), benchmark::Counter::kIsRate);
  state.counters["FLOP/s"] = benchmark::Counter(steps * flops, benchmark::Counter::kIsRate);
}

// A model of one sub-layer of each type, taken from the block where the type first appears.
void register_layers(const Scale& row) {
  const LayerTypes& types = catalog().types;
  for (const auto& [type, plugin] : types) {
    for (const std::string block : {"glam", "glam-ec", "switch"}) {
      Spec spec = baseline(block, row, types);
      std::erase_if(spec.sublayers,
                    [&type = type](const SubLayer& sub) { return sub.type != type; });
      spec.sublayers.resize(1);
      spec.stacks = 1;
      benchmark::RegisterBenchmark(
          ("layer/" + row.name + "/" + block + "/" + type).c_str(),
          [spec, row](benchmark::State& state) { train_steps(state, spec, bench_recipe(row)); });
    }
  }
}

const bool registered = [] {
  for (const char* name : {"nano", "micro"}) {
    const Scale row = scale(name);
    register_layers(row);
    for (const std::string& block : baseline_blocks())
      benchmark::RegisterBenchmark(
          ("step/" + block + "-" + row.name).c_str(), [block, row](benchmark::State& state) {
            train_steps(state, baseline(block, row, catalog().types), bench_recipe(row));
          });
  }
  return true;
}();

}  // namespace
}  // namespace moebius
