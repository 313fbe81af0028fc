#include <sys/resource.h>

#include <algorithm>
#include <cmath>

#include "evaluator/training/kernel_time.h"
#include "evaluator/training/step_time.h"
#include "model/learner.h"
#include "model/learner_memory.h"
#include "model/roofline.h"
#include "search/commands/options.h"
#include "search/report/table.h"
#include "search/study/factory.h"
#include "space/base/rng.h"
#include "space/cost.h"

namespace moebius {
namespace {

using Run = std::function<int()>;

// One JSON line, or a line for each number.
void print_result(const Json& result, bool json) {
  if (json) return print_out(result.dump() + "\n");
  for (const auto& [key, value] : result.items())
    print_out(fmt::format("{:<16} {}\n", key,
                          value.is_number_float() ? fmt::format("{:.4g}", value.get<double>())
                          : value.is_string()     ? value.get<std::string>()
                                                  : value.dump()));
}

std::unique_ptr<Backend> make_backend(const BackendOptions& options) {
  return builtin_catalog().backends.get(LearnerOptions{}.backend).make(options);
}

Dtype operand_of(const std::string& precision) {
  return make_backend({.precision = precision})->operand();
}

struct RooflineOptions {
  std::int64_t threads = 1;
  bool json = false;
};

int run_roofline(const RooflineOptions& options) {
  const int threads = static_cast<int>(options.threads);
  const double f32 = peak_flops(Dtype::F32, threads), bf16 = peak_flops(Dtype::BF16, threads);
  const double bytes = memory_bandwidth(threads);
  const Json result = {{"threads", threads},
                       {"fp32_flops", f32},
                       {"bf16_flops", bf16},
                       {"bf16_unit", bf16_unit_name()},
                       {"triad_bytes", bytes}};
  print_out(options.json
                ? result.dump() + "\n"
                : fmt::format("{} thread{}: fp32 {:.1f} GFLOP/s, bf16 {:.1f} GFLOP/s ({}), "
                              "memory {:.1f} GB/s (triad)\n",
                              threads, threads == 1 ? "" : "s", f32 * 1e-9, bf16 * 1e-9,
                              bf16_unit_name(), bytes * 1e-9));
  return 0;
}

struct StepOptions {
  std::string model, backend = "cpu";
  std::int64_t threads = 1, steps = 5, vocab = 0;
  Fields recipe;
  bool json = false, roofline = false;
};

rusage usage_now() {
  rusage usage;
  getrusage(RUSAGE_SELF, &usage);
  return usage;
}

// Rows that an expert sees of a micro-batch, the fewest; 0 without experts.
std::int64_t rows_per_expert(const std::vector<Operation>& products) {
  std::int64_t fewest = 0;
  for (const Operation& product : products) {
    const auto* m = std::get_if<Matmul>(&product);
    if (m == nullptr || m->batch == 1) continue;
    const std::int64_t rows = m->rows / m->batch;
    fewest = fewest == 0 ? rows : std::min(fewest, rows);
  }
  return fewest;
}

// What the experts of a step are planned to do; pairs of a token and an expert.
struct ExpertWork {
  double pairs = 0, flops = 0;
};
ExpertWork expert_work(const Spec& spec, const Recipe& recipe, std::int64_t vocab) {
  ExpertWork work;
  bool inside = false;  // a sub-layer of experts, whose products follow one another
  for (const Operation& operation :
       operations(spec, layer_types(), micro_shape(spec, recipe), vocab)) {
    const auto* m = std::get_if<Matmul>(&operation);
    if (m == nullptr) continue;
    const bool experts = m->batch > 1;
    if (experts) {
      const auto rows = static_cast<double>(m->rows);
      work.flops += 3 * 2 * rows * static_cast<double>(m->n * m->k);
      if (!inside) work.pairs += rows;
    }
    inside = experts;
  }
  const double times = static_cast<double>(recipe.batch) / static_cast<double>(recipe.micro_batch);
  return {work.pairs * times, work.flops * times};
}

int run_step(const StepOptions& options) {
  const Block block = load_block(options.model);
  const Recipe recipe = changed(block.recipe, options.recipe);
  check_recipe(recipe, builtin_catalog());
  const std::int64_t vocab = options.vocab > 0         ? options.vocab
                             : block.scale.has_value() ? block.scale->vocab
                                                       : 256;
  const int threads = static_cast<int>(options.threads);
  LearnerOptions with;
  with.backend = options.backend;
  with.backend_options = {recipe.precision, threads};
  Learner learner(block.spec, recipe, vocab, with, builtin_catalog());
  const auto tokens = static_cast<std::size_t>(recipe.tokens());
  std::vector<std::int32_t> inputs(tokens), targets(tokens);
  Rng rng(1);
  for (std::int32_t& token : inputs)
    token = static_cast<std::int32_t>(rng.below(static_cast<std::uint64_t>(vocab)));
  for (std::size_t i = 0; i < tokens; ++i) targets[i] = inputs[(i + 1) % tokens];

  // The first step touches all memory, the second one is as the others: both are left out.
  constexpr std::int64_t kWarmUp = 2;
  const CpuClock cpu(threads);
  std::vector<double> walls, cpus;
  StepResult last;
  long faults = 0;
  for (std::int64_t t = 0; t < kWarmUp + options.steps; ++t) {
    if (t == kWarmUp) faults = usage_now().ru_minflt;
    const double wall = wall_seconds(), spent = cpu.seconds();
    last = learner.train(inputs, targets, t, kWarmUp + options.steps);
    if (t < kWarmUp) continue;
    walls.push_back(wall_seconds() - wall);
    cpus.push_back(cpu.seconds() - spent);
  }
  const auto median = [](std::vector<double> values) {
    std::nth_element(values.begin(), values.begin() + std::ssize(values) / 2, values.end());
    return values[values.size() / 2];
  };
  Cost gate = cost(block.spec, layer_types(), recipe, vocab);
  const ExpertWork experts = expert_work(block.spec, recipe, vocab);
  const double dropped = experts.pairs > 0 ? 1 - last.kept / experts.pairs : 0;
  gate.step_flops -= dropped * experts.flops;  // what is dropped is not computed
  const double step = median(walls), size = static_cast<double>(tokens);
  Json result = {{"model", block.name},
                 {"precision", dtype_text(operand_of(recipe.precision))},
                 {"threads", threads},
                 {"steps", options.steps},
                 {"tokens_per_step", tokens},
                 {"tokens_per_s", size / step},
                 {"step_s", step},
                 {"cpu_s", median(cpus)},
                 {"gflops", gate.step_flops / step * 1e-9},
                 {"peak_rss_mb", static_cast<double>(usage_now().ru_maxrss) * 1024e-6},
                 {"minor_faults", (usage_now().ru_minflt - faults) / options.steps},
                 {"loss", last.loss}};
  if (const std::int64_t rows = rows_per_expert(learner.memory().products); rows > 0)
    result.update({{"rows_per_expert", rows}, {"dropped", dropped}});
  if (options.roofline) {
    const Roofline limit = measure_roofline(operand_of(recipe.precision), threads);
    result["roofline_step_s"] = limit.step_seconds(gate, learner.memory().optimizer);
    result["roofline_share"] = limit.step_seconds(gate, learner.memory().optimizer) / step;
    result["peak_gflops"] = limit.flops * 1e-9;
    result["triad_gbs"] = limit.bytes * 1e-9;
  }
  print_result(result, options.json);
  return 0;
}

struct KernelOptions {
  std::int64_t threads = 1, repeats = 20;
  std::string precision = "auto";
  bool json = false;
  std::int64_t batch = 2, seq = 1024, heads = 12, head_dim = 64;  // of attention
  std::int64_t parameters = std::int64_t{1} << 26;                // of the optimizer

  std::unique_ptr<Backend> backend() const {
    return make_backend({precision, static_cast<int>(threads)});
  }
};

int run_attention(const KernelOptions& options) {
  const AttentionShape shape = {options.batch, options.seq, options.heads, options.head_dim,
                                1 / std::sqrt(static_cast<double>(options.head_dim))};
  const double seconds =
      attention_seconds(*options.backend(), shape, static_cast<int>(options.repeats));
  const auto pairs = static_cast<double>(options.batch * options.heads * options.seq *
                                         (options.seq + 1) / 2);  // causal ones
  print_result({{"precision", dtype_text(operand_of(options.precision))},
                {"threads", options.threads},
                {"seconds", seconds},
                {"gflops", 2 * 6 * pairs * static_cast<double>(options.head_dim) / seconds * 1e-9}},
               options.json);
  return 0;
}

int run_optimizer(const KernelOptions& options) {
  const double seconds =
      adamw_seconds(*options.backend(), options.parameters, static_cast<int>(options.repeats));
  // Weight, gradient and two moments are read, weight and moments written.
  const double bytes = 28 * static_cast<double>(options.parameters) / seconds;
  const double triad = memory_bandwidth(static_cast<int>(options.threads));
  print_result({{"threads", options.threads},
                {"seconds", seconds},
                {"gbs", bytes * 1e-9},
                {"triad_gbs", triad * 1e-9},
                {"over_triad", bytes / triad}},
               options.json);
  return 0;
}

Run describe_roofline(Args& args) {
  auto options = std::make_shared<RooflineOptions>();
  args.example("moebius bench roofline --threads 2");
  args.option("--threads N", options->threads, 1, 1024, "threads at the same time");
  args.flag("--json", options->json, "one JSON line");
  return [options] { return run_roofline(*options); };
}

Run describe_step(Args& args) {
  auto options = std::make_shared<StepOptions>();
  args.example("moebius bench step --model glam-micro --threads 1 --json");
  args.option("--model BLOCK", options->model, "a baseline (glam-nano) or a block file");
  args.required("--model");
  args.option("--threads N", options->threads, 1, 1024, "threads of the step");
  args.option("--steps K", options->steps, 1, 1 << 20, "timed steps, after two of warm-up");
  args.option("--vocab V", options->vocab, 1, 1 << 24, "tokens known; the scale's when left out");
  args.flag("--json", options->json, "one JSON line");
  args.flag("--roofline", options->roofline, "measure the machine, too, and compare");
  describe_backend(args, options->backend);
  describe_recipe(args, options->recipe);
  return [options] { return run_step(*options); };
}

void describe_kernel(Args& args, KernelOptions& options) {
  args.option("--threads N", options.threads, 1, 1024, "threads of the kernel");
  args.option("--repeats K", options.repeats, 1, 1 << 20, "timed calls, after two of warm-up");
  args.choice("--precision P", options.precision, {"auto", "fp32", "bf16"}, "of products");
  args.flag("--json", options.json, "one JSON line");
}

Run describe_attention(Args& args) {
  auto options = std::make_shared<KernelOptions>();
  args.example("moebius bench attention --seq 1024 --heads 12 --head-dim 64 --threads 1");
  args.option("--batch B", options->batch, 1, 1 << 20, "sequences");
  args.option("--seq S", options->seq, 1, 1 << 20, "tokens of a sequence");
  args.option("--heads H", options->heads, 1, 1 << 10, "number of heads");
  args.option("--head-dim K", options->head_dim, 1, 1 << 10, "width of a head");
  describe_kernel(args, *options);
  return [options] { return run_attention(*options); };
}

Run describe_optimizer(Args& args) {
  auto options = std::make_shared<KernelOptions>();
  args.example("moebius bench optimizer --threads 2");
  args.option("--parameters P", options->parameters, 1024, std::int64_t{1} << 32, "numbers");
  describe_kernel(args, *options);
  return [options] { return run_optimizer(*options); };
}

}  // namespace

Command commands_bench() {
  return {"how fast this machine is, and how fast a block trains on it",
          [](Args& args) -> std::function<int()> {
            args.example("moebius bench step --model glam-micro");
            args.subcommand("roofline", "the machine's limits, measured", describe_roofline);
            args.subcommand("step", "optimizer steps of a block on random tokens", describe_step);
            args.subcommand("attention", "causal attention, forward and backward",
                            describe_attention);
            args.subcommand("optimizer", "AdamW against the bandwidth of the memory",
                            describe_optimizer);
            return nullptr;
          }};
}

}  // namespace moebius
