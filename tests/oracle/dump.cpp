// oracle_dump OUTDIR [all] NAME|FILE...   what the reference back-end computes in f64
//
// NAME is a baseline ("glam-nano"), FILE a case of tests/oracle/blocks ("moebius.oracle/1": block,
// recipe, vocab); `all` adds every baseline block at nano scale and demands that the files cover
// what the catalog offers. For check.py it writes OUTDIR/NAME/block.json and
// OUTDIR/NAME/dump.safetensors with, in F64:
//   value/SLOT     every parameter, [E, D, F] for experts, else a matrix
//   tokens, targets [B, S] (I32)
//   logits [T, V]  of the first micro-batch, training routing
//   loss [B, S]    of every token, training routing
//   step/loss, step/aux, step/z, step/kept, step/dropped   of one step (StepResult)
//   gradient/SLOT  of mean loss + weighted auxiliary and z-loss
//   after/SLOT     routing state after that step
//   causal [B, S]  loss of every token by the causal evaluation, after that step
//   steps/tokens, steps/targets [8 B, S] (I32)   of eight optimizer steps from the same weights
//   trained/SLOT   every parameter after them
//   trained_causal [B, S]   loss of tokens by the causal evaluation, after them

#include <fmt/format.h>

#include <cstring>
#include <filesystem>
#include <iostream>
#include <set>

#include "model/checkpoint.h"
#include "model/learner.h"
#include "space/base/atomic_file.h"
#include "space/base/json.h"
#include "space/base/rng.h"
#include "space/scale.h"
#include "tests/support/catalog.h"

namespace moebius {
namespace {

constexpr std::uint64_t kSeed = 20260117;
constexpr std::int64_t kSteps = 8;

struct Case {
  std::string name;
  Spec spec;
  Recipe recipe;
  std::int64_t vocab = 256;
};

// Two micro-batches of two sequences: enough to accumulate over, small enough for naive loops.
Case baseline_case(const std::string& name, const LayerTypes& types) {
  Case result{.name = name, .spec = baseline(name, types), .recipe = {}};
  result.recipe.batch = 4;
  result.recipe.micro_batch = 2;
  return result;
}

Case file_case(const std::string& path, const LayerTypes& types) {
  const Json document = load_json(path);
  Problems problems(path);
  Reader reader(document, "", problems);
  reader.format("moebius.oracle/1");
  Case result;
  result.name = std::filesystem::path(path).stem().string();
  result.spec = read_spec(reader.object("block"), types);
  result.recipe = read_recipe(reader.object("recipe"), types);
  result.vocab = reader.integer("vocab", 1, 1 << 20);
  reader.finish();
  problems.raise();
  return result;
}

// Gains of one, taps of the identity and a nearly uniform router would hide wrong gradients.
void roughen(Learner& learner) {
  for (const ParamSlot& slot : learner.params().slots()) {
    if (slot.role != Role::Vector && slot.role != Role::Router) continue;
    std::vector<double> values = learner.read_value(slot.name);
    Rng rng(derive_key(kSeed, slot.name));
    for (double& value : values)
      value = slot.role == Role::Router ? 10 * value : value + 0.3 * rng.normal();
    learner.write_value(slot.name, values);
  }
}

std::vector<std::int32_t> random_tokens(std::int64_t count, std::int64_t vocab, const char* what) {
  Rng rng(derive_key(kSeed, what));
  std::vector<std::int32_t> tokens(static_cast<std::size_t>(count));
  for (std::int32_t& token : tokens)
    token = static_cast<std::int32_t>(rng.below(static_cast<std::uint64_t>(vocab)));
  return tokens;
}

// Tensors by name, written in one go.
class Dump {
 public:
  void add(const std::string& name, std::vector<std::int64_t> shape, std::vector<double> values) {
    put({name, Dtype::F64, std::move(shape)}, values.data(), values.size() * sizeof(double));
  }
  void add_tokens(const std::string& name, std::vector<std::int64_t> shape,
                  const std::vector<std::int32_t>& values) {
    put({name, Dtype::I32, std::move(shape)}, values.data(), values.size() * sizeof(std::int32_t));
  }
  void write(const std::string& path) const {
    write_safetensors(path, tensors_, {}, [&](std::size_t i, std::span<std::byte> to) {
      MOEBIUS_CHECK(to.size() == bytes_[i].size(), "[dump] {} has {} bytes, its shape {}",
                    tensors_[i].name, bytes_[i].size(), to.size());
      std::memcpy(to.data(), bytes_[i].data(), to.size());
    });
  }

 private:
  void put(TensorOut tensor, const void* values, std::size_t bytes) {
    tensors_.push_back(std::move(tensor));
    const auto* begin = static_cast<const std::byte*>(values);
    bytes_.emplace_back(begin, begin + bytes);
  }

  std::vector<TensorOut> tensors_;
  std::vector<std::vector<std::byte>> bytes_;
};

std::vector<std::int64_t> shape_of(const ParamSlot& slot) {
  if (slot.batch > 1) return {slot.batch, slot.rows, slot.cols};
  return {slot.rows, slot.cols};
}

bool is_dumped(const ParamSlot& slot) { return slot.role != Role::Sum; }

std::unique_ptr<Learner> rough_learner(const Case& c) {
  const LearnerOptions options{
      .backend = "reference", .backend_options = {.precision = "f64"}, .seed = kSeed};
  auto learner = std::make_unique<Learner>(c.spec, c.recipe, c.vocab, options, builtin_catalog());
  roughen(*learner);
  return learner;
}

void add_training(const Case& c, const std::vector<std::int32_t>& tokens,
                  const std::vector<std::int32_t>& targets, Dump& dump) {
  const auto made = rough_learner(c);
  Learner& learner = *made;
  const std::int64_t rows = c.recipe.batch, cols = c.recipe.seq;
  const auto all_tokens = random_tokens(kSteps * rows * cols, c.vocab, "steps tokens");
  const auto all_targets = random_tokens(kSteps * rows * cols, c.vocab, "steps targets");
  dump.add_tokens("steps/tokens", {kSteps * rows, cols}, all_tokens);
  dump.add_tokens("steps/targets", {kSteps * rows, cols}, all_targets);
  const auto size = static_cast<std::size_t>(rows * cols);
  for (std::int64_t t = 0; t < kSteps; ++t) {
    const auto begin = static_cast<std::size_t>(t) * size;
    learner.train(std::span(all_tokens).subspan(begin, size),
                  std::span(all_targets).subspan(begin, size), t, kSteps);
  }
  for (const ParamSlot& slot : learner.params().slots())
    if (is_dumped(slot))
      dump.add("trained/" + slot.name, shape_of(slot), learner.read_value(slot.name));
  dump.add("trained_causal", {rows, cols}, learner.evaluate(tokens, targets, Mode::Causal));
}

Dump compute(const Case& c) {
  const auto made = rough_learner(c);
  Learner& learner = *made;
  const std::int64_t rows = c.recipe.batch, cols = c.recipe.seq;
  const auto tokens = random_tokens(rows * cols, c.vocab, "tokens");
  const auto targets = random_tokens(rows * cols, c.vocab, "targets");
  const std::span<const std::int32_t> all(tokens);

  Dump dump;
  dump.add_tokens("tokens", {rows, cols}, tokens);
  dump.add_tokens("targets", {rows, cols}, targets);
  const auto& slots = learner.params().slots();
  for (const ParamSlot& slot : slots)
    if (is_dumped(slot))
      dump.add("value/" + slot.name, shape_of(slot), learner.read_value(slot.name));
  const std::int64_t first = c.recipe.micro_batch * cols;
  dump.add("logits", {first, c.vocab},
           learner.logits(all.first(static_cast<std::size_t>(first)), Mode::Native));
  dump.add("loss", {rows, cols}, learner.evaluate(tokens, targets, Mode::Native));
  const StepResult step = learner.gradients(tokens, targets);
  dump.add("step/loss", {1, 1}, {step.loss});
  dump.add("step/aux", {1, 1}, {step.aux});
  dump.add("step/z", {1, 1}, {step.z});
  dump.add("step/kept", {1, 1}, {step.kept});
  dump.add("step/dropped", {1, 1}, {step.dropped});
  for (const ParamSlot& slot : slots) {
    if (slot.role == Role::State)
      dump.add("after/" + slot.name, shape_of(slot), learner.read_value(slot.name));
    else if (is_trained(slot.role))
      dump.add("gradient/" + slot.name, shape_of(slot), learner.read_gradient(slot.name));
  }
  dump.add("causal", {rows, cols}, learner.evaluate(tokens, targets, Mode::Causal));
  add_training(c, tokens, targets, dump);
  return dump;
}

void write(const Case& c, const std::string& out) {
  const std::string directory = out + "/" + c.name;
  std::filesystem::create_directories(directory);
  compute(c).write(directory + "/dump.safetensors");
  const Json document = {{"name", c.name},
                         {"block", to_json(c.spec)},
                         {"recipe", to_json(c.recipe)},
                         {"vocab", c.vocab}};
  write_file(directory + "/block.json", document.dump(2) + "\n");
}

// "attn position rope", "moe gating top2", and every gating with every kind of group.
std::set<std::string> features(const Spec& spec) {
  std::set<std::string> found;
  for (const auto& [type, fields] : spec.sublayers) {
    for (const auto& [name, value] : fields)
      found.insert(fmt::format("{} {} {}", type, name, value_text(value)));
    if (type != "moe") continue;
    const std::string group = text(fields, "group");
    found.insert(fmt::format("{} in {}", text(fields, "gating"), group.substr(0, group.find(':'))));
  }
  return found;
}

// A choice that some sub-layer type gains and no case has is not judged by anybody.
void check_coverage(const std::set<std::string>& found, const Catalog& catalog) {
  const auto check = [&](const std::string& feature) {
    if (!found.contains(feature)) bad_input("tests/oracle/blocks", "no case has " + feature);
  };
  for (const auto& [type, declared] : catalog.types)
    for (const Field& field : declared.fields)
      for (const std::string& choice : field.choices)
        check(fmt::format("{} {} {}", type, field.name, choice));
  for (const auto& gating : catalog.gatings)
    for (const char* group : {"sequence", "position", "batch", "tokens"})
      check(fmt::format("{} in {}", gating.first, group));
}

int run(const std::vector<std::string>& arguments) {
  const Catalog& catalog = builtin_catalog();
  if (arguments.size() < 2) bad_input("oracle_dump", "needs OUTDIR NAME|FILE|all...");
  std::vector<Case> cases;
  for (std::size_t i = 1; i < arguments.size(); ++i) {
    if (arguments[i].ends_with(".json"))
      cases.push_back(file_case(arguments[i], catalog.types));
    else if (arguments[i] != "all")
      cases.push_back(baseline_case(arguments[i], catalog.types));
  }
  if (arguments[1] == "all") {
    std::set<std::string> found;
    for (const Case& c : cases) found.merge(features(c.spec));
    check_coverage(found, catalog);
    for (const std::string& block : baseline_blocks())
      cases.push_back(baseline_case(block + "-nano", catalog.types));
  }
  for (const Case& c : cases) write(c, arguments[0]);
  return 0;
}

}  // namespace
}  // namespace moebius

int main(int argc, char** argv) {
  try {
    return moebius::run({argv + 1, argv + argc});
  } catch (const moebius::Error& error) {
    std::cerr << "error: " << error.what() << "\n";
    return static_cast<int>(error.code());
  }
}
