// The kernels of every back-end of the catalog, at the sizes of a nano proxy and of the 100M
// models: GFLOP/s of products, GB/s (each operand counted once) of passes over memory.
#include <benchmark/benchmark.h>

#include <array>
#include <cmath>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "model/catalog.h"
#include "space/base/rng.h"

namespace moebius {
namespace {

const Catalog& catalog() {
  static const Catalog all;
  return all;
}

struct Sizes {
  const char* name;
  std::int64_t tokens, seq, width, hidden, experts, heads, head_dim, vocab;
  bool naive;  // small enough for naive loops
};
constexpr Sizes kSizes[] = {{"nano", 1024, 64, 48, 192, 8, 4, 16, 256, true},
                            {"100m", 2048, 1024, 768, 2048, 32, 12, 64, 32000, false}};
constexpr std::int64_t kChoices = 2;

// Parameters, activations and a balanced routing of two experts per token on one back-end.
struct Desk {
  Desk(const BackendPlugin& plugin, const Sizes& sizes, int threads)
      : s(sizes), backend(plugin.make({.precision = "fp32", .threads = threads})) {
    dense = declare(1, s.width, s.hidden);
    expert = declare(s.experts, s.width, s.hidden);
    table = declare(1, s.vocab, s.width);
    gain = declare(1, 1, s.width);
    bias = declare(1, 32, s.heads);
    params.attach(Dtype::F32, backend->memory.allocate(4 * params.value_size()),
                  backend->memory.allocate(4 * params.gradient_size()));
    backend->bind(params, gradients);
    for (int i = 0; i < static_cast<int>(params.slots().size()); ++i)
      backend->memory.initialise(params.value({i}), params.slot({i}),
                                 derive_key(1, "values", static_cast<std::uint64_t>(i)));
    backend->memory.weights_changed();
    route();
  }

  Weight declare(std::int64_t batch, std::int64_t rows, std::int64_t cols) {
    ParamSlot slot;
    slot.name = "w" + std::to_string(params.slots().size());
    slot.batch = batch;
    slot.rows = rows;
    slot.cols = cols;
    slot.init = Init::normal(0.1);
    return params.declare(slot);
  }
  View matrix(std::int64_t rows, std::int64_t cols, Dtype dtype = Dtype::F32) {
    const View view{backend->memory.allocate(rows * cols * size_of(dtype)), dtype, rows, cols,
                    cols};
    if (dtype == Dtype::F32) {
      Rng rng(static_cast<std::uint64_t>(rows + cols));
      std::vector<float> values(static_cast<std::size_t>(view.size()));
      for (float& value : values) value = static_cast<float>(rng.uniform() - 0.5);
      backend->memory.write(view, values.data());
    }
    return view;
  }
  void route() {
    probs = matrix(s.tokens, s.experts);
    routing = {.offset = matrix(s.experts + 1, 1, Dtype::I32),
               .token = matrix(pairs(), 1, Dtype::I32),
               .weight = matrix(pairs(), 1),
               .choice = matrix(s.tokens, kChoices, Dtype::I32),
               .row = matrix(s.tokens, kChoices, Dtype::I32),
               .expected = pairs()};
    backend->routing.choose_experts(probs, groups(), -1, true, routing);
  }
  std::int64_t pairs() const { return kChoices * s.tokens; }
  Groups groups() const { return {s.tokens / s.seq, s.seq, s.seq, 1}; }
  AttentionShape attention() const {
    return {s.tokens / s.seq, s.seq, s.heads, s.head_dim,
            1 / std::sqrt(static_cast<double>(s.head_dim))};
  }

  Sizes s;
  // Every contribution is a whole step's.
  struct Overwriting final : GradientSink {
    Contribution next(Weight, Producer) override { return {}; }
  } gradients;
  std::unique_ptr<Backend> backend;
  Params params;
  Weight dense, expert, table, gain, bias;
  View probs;
  Routing routing;
};

// Work of one call: GFLOP, or GB.
struct Work {
  const char* unit;
  double amount;
};
Work flops(double multiplications) { return {"GFLOP/s", 2e-9 * multiplications}; }
Work bytes(double floats) { return {"GB/s", 4e-9 * floats}; }

using Call = std::function<void()>;
struct Kernel {
  const char* name;
  // Sets up inputs; -> what is timed, and its work.
  std::function<std::pair<Call, Work>(Desk&)> make;
};

std::pair<Call, Work> product(Desk& d, bool routed, bool backward) {
  const std::int64_t rows = routed ? d.pairs() : d.s.tokens;
  const View x = d.matrix(rows, d.s.width), y = d.matrix(rows, d.s.hidden);
  const View dx = d.matrix(rows, d.s.width);
  const Work work = flops((backward ? 2 : 1) * static_cast<double>(rows * d.s.width * d.s.hidden));
  Backend& b = *d.backend;
  if (routed && backward)
    return {[&b, &d, x, y, dx] {
              b.products.expert_matmul_backward(x, y, d.routing, d.expert, dx, false);
            },
            work};
  if (routed)
    return {[&b, &d, x, y] { b.products.expert_matmul(x, d.routing, d.expert, y); }, work};
  if (backward)
    return {[&b, &d, x, y, dx] { b.products.matmul_backward(x, y, d.dense, dx, false); }, work};
  return {[&b, &d, x, y] { b.products.matmul(x, d.dense, y); }, work};
}

std::pair<Call, Work> attend(Desk& d, bool backward) {
  const std::int64_t cols = d.s.heads * d.s.head_dim;
  std::vector<View> m;
  for (int i = 0; i < 8; ++i) m.push_back(d.matrix(d.s.tokens, cols));
  const View lse = d.matrix(d.s.tokens, d.s.heads);
  const AttentionShape shape = d.attention();
  Backend& b = *d.backend;
  b.attention.attend(shape, m[0], m[1], m[2], d.bias, m[3], lse);
  const auto pairs = static_cast<double>(d.s.tokens * d.s.heads * (d.s.seq + 1) / 2);
  if (backward)
    return {[=, &b, &d] {
              b.attention.attend_backward(shape, m[0], m[1], m[2], d.bias, m[3], lse, m[4], m[5],
                                          m[6], m[7]);
            },
            flops(4 * pairs * static_cast<double>(d.s.head_dim))};
  return {[=, &b, &d] { b.attention.attend(shape, m[0], m[1], m[2], d.bias, m[3], lse); },
          flops(2 * pairs * static_cast<double>(d.s.head_dim))};
}

std::pair<Call, Work> activate(Desk& d, bool backward) {
  std::vector<View> m;
  for (int i = 0; i < 5; ++i) m.push_back(d.matrix(d.s.tokens, d.s.hidden));
  Backend& b = *d.backend;
  const auto size = static_cast<double>(m[0].size());
  if (backward)
    return {[=, &b] { b.elementwise.glu_backward(Activation::Gelu, m[0], m[1], m[2], m[3], m[4]); },
            bytes(5 * size)};
  return {[=, &b] { b.elementwise.glu(Activation::Gelu, m[0], m[1], m[2]); }, bytes(3 * size)};
}

std::pair<Call, Work> norm(Desk& d, bool backward) {
  const View x = d.matrix(d.s.tokens, d.s.width), y = d.matrix(d.s.tokens, d.s.width);
  const View dx = d.matrix(d.s.tokens, d.s.width), rstd = d.matrix(d.s.tokens, 1);
  Backend& b = *d.backend;
  const auto size = static_cast<double>(x.size());
  if (backward)
    return {[=, &b, &d] { b.elementwise.rms_norm_backward(x, d.gain, rstd, y, dx, {}); },
            bytes(4 * size)};
  return {[=, &b, &d] { b.elementwise.rms_norm(x, {}, d.gain, y, rstd); }, bytes(2 * size)};
}

std::pair<Call, Work> loss(Desk& d) {
  const View h = d.matrix(d.s.tokens, d.s.width), dh = d.matrix(d.s.tokens, d.s.width);
  const View target = d.matrix(d.s.tokens, 1, Dtype::I32);
  const View losses = d.matrix(d.s.tokens, 1, Dtype::F64);
  Backend& b = *d.backend;
  return {[=, &b, &d] { b.loss.cross_entropy(h, d.table, target, 1e-3, losses, dh); },
          flops(3 * static_cast<double>(d.s.tokens * d.s.width * d.s.vocab))};
}

std::pair<Call, Work> update(Desk& d, bool factored) {
  const View w = d.params.value(d.expert);
  const View m = factored ? d.matrix(w.rows, 1) : d.matrix(w.rows, w.cols);
  const View v = factored ? d.matrix(d.s.experts, w.cols) : d.matrix(w.rows, w.cols);
  for (const View& state : {m, v}) d.backend->memory.fill(state, 1);
  const View norm2 = d.matrix(1, 1, Dtype::F64);
  Backend& b = *d.backend;
  const auto size = static_cast<double>(w.size());
  if (factored)  // weight read and written, gradient read
    return {
        [=, &b, &d] {
          b.update.apply(d.expert, {Adafactor{1e-3, 0.9, 1e-30, 1, 0}, std::array{m, v}}, norm2, 0);
        },
        bytes(3 * size)};
  return {[=, &b, &d] {
            b.update.apply(d.expert, {AdamW{1e-3, 0.9, 0.99, 1e-8, 0.1, 1, 1}, std::array{m, v}},
                           norm2, 0);
          },
          bytes(7 * size)};
}

std::pair<Call, Work> choose(Desk& d, bool by_expert) {
  Backend& b = *d.backend;
  const Work work = bytes(static_cast<double>(d.probs.size()));
  if (by_expert)
    return {[&b, &d] {
              b.routing.choose_tokens(d.probs, d.groups(), kChoices * d.s.seq / d.s.experts, {},
                                      d.routing);
            },
            work};
  return {[&b, &d] { b.routing.choose_experts(d.probs, d.groups(), -1, true, d.routing); }, work};
}

std::pair<Call, Work> dispatch(Desk& d) {
  const View x = d.matrix(d.s.tokens, d.s.width), y = d.matrix(d.pairs(), d.s.width);
  Backend& b = *d.backend;
  return {[=, &b, &d] {
            b.routing.gather(x, d.routing, y);
            b.routing.combine(y, d.routing, x);
          },
          bytes(2 * static_cast<double>(x.size() + y.size()))};
}

const std::vector<Kernel>& kernels() {
  static const std::vector<Kernel> all = {
      {"matmul", [](Desk& d) { return product(d, false, false); }},
      {"matmul_backward", [](Desk& d) { return product(d, false, true); }},
      {"expert_matmul", [](Desk& d) { return product(d, true, false); }},
      {"expert_matmul_backward", [](Desk& d) { return product(d, true, true); }},
      {"attention", [](Desk& d) { return attend(d, false); }},
      {"attention_backward", [](Desk& d) { return attend(d, true); }},
      {"cross_entropy", loss},
      {"gated_gelu", [](Desk& d) { return activate(d, false); }},
      {"gated_gelu_backward", [](Desk& d) { return activate(d, true); }},
      {"rms_norm", [](Desk& d) { return norm(d, false); }},
      {"rms_norm_backward", [](Desk& d) { return norm(d, true); }},
      {"choose_experts", [](Desk& d) { return choose(d, false); }},
      {"choose_tokens", [](Desk& d) { return choose(d, true); }},
      {"gather_combine", dispatch},
      {"adamw", [](Desk& d) { return update(d, false); }},
      {"adafactor", [](Desk& d) { return update(d, true); }}};
  return all;
}

void measure(benchmark::State& state, const BackendPlugin& plugin, const Sizes& sizes, int threads,
             const Kernel& kernel) {
  Desk desk(plugin, sizes, threads);
  const auto [call, work] = kernel.make(desk);
  call();  // first touch of the memory
  for (auto _ : state) call();
  state.counters[work.unit] =
      benchmark::Counter(work.amount, benchmark::Counter::kIsIterationInvariantRate);
}

// KERNEL/SIZE/BACKEND/threads:N for everything in the catalog that computes.
const bool registered = [] {
  for (const Kernel& kernel : kernels())
    for (const Sizes& sizes : kSizes)
      for (const auto& [name, plugin] : catalog().backends) {
        const BackendAttributes& its = plugin.attributes;
        if (!its.computes || (its.definition && !sizes.naive)) continue;
        for (const int threads : {1, 2}) {
          if (threads > 1 && its.definition) continue;
          auto* const bench = benchmark::RegisterBenchmark(
              fmt::format("{}/{}/{}/threads:{}", kernel.name, sizes.name, name, threads).c_str(),
              [&kernel, &sizes, plugin = plugin, threads](benchmark::State& state) {
                measure(state, plugin, sizes, threads, kernel);
              });
          if (threads > 1) bench->UseRealTime();  // one thread: its CPU time
        }
      }
  return true;
}();

}  // namespace
}  // namespace moebius
