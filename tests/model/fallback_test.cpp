// Back-ends that lack kernel families, which then run on the reference back-end.

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "model/backends/describe.h"
#include "model/backends/reference/reference.h"
#include "tests/model/model_support.h"

namespace moebius::testing {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::Not;

constexpr std::int64_t kBatch = 4, kSeq = 8, kVocab = 19;

// Memory that the host cannot reach: whoever follows an address of it, dies.
class Remote final : public Memory {
 public:
  explicit Remote(Dtype dtype) : there_(dtype) {}
  std::byte* allocate(std::int64_t bytes) override { return moved(there_.allocate(bytes)); }
  void write(View to, const void* from) override { there_.write(there(to), from); }
  void read(View from, void* to) override { there_.read(there(from), to); }
  void fill(View y, double value) override { there_.fill(there(y), value); }
  void initialise(View value, const ParamSlot& slot, std::uint64_t key) override {
    there_.initialise(there(value), slot, key);
  }
  void bind(const Params&, GradientSink&) override {}

 private:
  static std::byte* moved(std::byte* address) {
    return reinterpret_cast<std::byte*>(reinterpret_cast<std::uintptr_t>(address) ^
                                        (std::uintptr_t{1} << 62));
  }
  static View there(View view) {
    view.data = moved(view.data);
    return view;
  }

  reference::Reference there_;
};

const std::vector<std::string> kFamilies = {"elementwise", "products", "attention",
                                            "routing",     "loss",     "update"};

void drop(Families& families, const std::string& name) {
  if (name == "elementwise") families.elementwise = nullptr;
  if (name == "products") families.products = nullptr;
  if (name == "attention") families.attention = nullptr;
  if (name == "routing") families.routing = nullptr;
  if (name == "loss") families.loss = nullptr;
  if (name == "update") families.update = nullptr;
}

BackendPlugin without(const std::string& backend, const std::vector<std::string>& names) {
  BackendPlugin plugin = builtin_catalog().backends.get(backend);
  plugin.families = [families = plugin.families, names](const BackendOptions& how) {
    Families left = families(how);
    for (const std::string& name : names) drop(left, name);
    return left;
  };
  return plugin;
}

BackendPlugin remote() {
  BackendPlugin plugin;
  plugin.attributes.device = "moon";
  plugin.families = [](const BackendOptions& how) {
    Families families;
    families.dtype = families.operand = how.precision == "f64" ? Dtype::F64 : Dtype::F32;
    families.memory = std::make_shared<Remote>(families.dtype);
    return families;
  };
  return plugin;
}

// Every kernel: positions of each kind, convolution, both gating families, gated and not.
Spec every_kernel() {
  return block(12, {attn(3, 4, "learned", 3), moe(10, 4, "expert_choice", 2), ffn(10, "gated_gelu"),
                    attn(2, 6), moe(10, 4, "top2", 1), attn(1, 4, "rope"), ffn(7)});
}

// Losses and norms of three steps, losses in both modes, and all weights.
std::vector<double> trained(const BackendPlugin& plugin, const std::string& precision,
                            const std::string& optimizer, std::int64_t micro_batch, double clip) {
  const Catalog catalog([&](Catalog& all) { all.backends.add("tested", plugin); });
  LearnerOptions how = options(precision);
  how.backend = "tested";
  Recipe r = recipe(kBatch, kSeq, micro_batch);
  r.optimizer = optimizer;
  r.clip = clip;
  r.z = 0.1;
  Learner learner(every_kernel(), r, kVocab, how, catalog);
  std::vector<double> numbers;
  for (int t = 0; t < 3; ++t) {
    const auto seed = static_cast<std::uint64_t>(t);
    const StepResult step = learner.train(random_tokens(kBatch * kSeq, kVocab, seed),
                                          random_tokens(kBatch * kSeq, kVocab, seed + 9), t, 3);
    numbers.insert(numbers.end(), {step.loss, step.gradient_norm, step.aux, step.z, step.kept});
  }
  const auto tokens = random_tokens(kBatch * kSeq, kVocab, 5);
  for (const Mode mode : {Mode::Causal, Mode::Native})
    for (const double loss : learner.evaluate(tokens, tokens, mode)) numbers.push_back(loss);
  for (const ParamSlot& slot : learner.params().slots())
    for (const double value : learner.read_value(slot.name)) numbers.push_back(value);
  return numbers;
}

TEST(Fallback, GivesTheBitsOfTheReference) {
  const BackendPlugin& whole = builtin_catalog().backends.get("reference");
  for (const char* precision : {"f64", "fp32"})
    for (const char* optimizer : {"adamw", "adafactor"})
      for (const double clip : {0.0, 0.5}) {
        SCOPED_TRACE(fmt::format("{} {} {}", precision, optimizer, clip));
        const auto want = trained(whole, precision, optimizer, 2, clip);
        for (const std::string& name : kFamilies)
          EXPECT_EQ(trained(without("reference", {name}), precision, optimizer, 2, clip), want)
              << name;
        EXPECT_EQ(trained(remote(), precision, optimizer, 2, clip), want);
      }
}

// One micro-batch and no clipping: the whole reference updates in the backward pass.
TEST(Fallback, UpdatesAfterTheBackwardPass) {
  const auto want = trained(builtin_catalog().backends.get("reference"), "f64", "adamw", 4, 0);
  for (const BackendPlugin& plugin :
       {without("reference", {"products"}), without("reference", {"update"}), remote()}) {
    const auto got = trained(plugin, "f64", "adamw", 4, 0);
    ASSERT_EQ(got.size(), want.size());
    for (std::size_t i = 0; i < want.size(); ++i) ASSERT_NEAR(got[i], want[i], 1e-12) << i;
  }
}

// Rounded operands go through the host, too.
TEST(Fallback, AgreesOnTheFastBackEnds) {
  for (const auto& [backend, plugin] : builtin_catalog().backends) {
    if (!plugin.attributes.computes || plugin.attributes.definition) continue;
    for (const std::string precision : {"fp32", "bf16"}) {
      if (precision == "bf16" && !plugin.attributes.bf16) continue;
      const auto want = trained(plugin, precision, "adamw", 2, 1);
      for (const std::string& name : kFamilies) {
        SCOPED_TRACE(backend + " " + precision + " without " + name);
        const auto got = trained(without(backend, {name}), precision, "adamw", 2, 1);
        for (const std::size_t loss : {0, 5, 10})
          EXPECT_NEAR(got[loss], want[loss], (precision == "bf16" ? 5e-3 : 1e-5) * want[loss]);
      }
    }
  }
}

TEST(Fallback, TakesHostMemoryThatThePlanCounts) {
  const Catalog catalog(
      [](Catalog& all) { all.backends.add("lacking", without("reference", {"loss"})); });
  LearnerOptions how = options();
  const auto workspace = [&](const char* name) {
    how.backend = name;
    return Learner::plan(every_kernel(), recipe(kBatch, kSeq), kVocab, how, catalog).workspace;
  };
  EXPECT_EQ(workspace("reference"), 0);
  EXPECT_GT(workspace("lacking"), 0);
}

TEST(Fallback, IsSaidLoudly) {
  EXPECT_THAT(missing_families(without("cpu", {"loss", "products"}).families({})),
              ElementsAre("products", "loss"));
  EXPECT_THAT(description(without("cpu", {"loss", "products"})),
              HasSubstr("WARNING: it lacks products, loss, which run on `reference`, slowly"));
  EXPECT_THAT(description(remote()), HasSubstr("on the moon"));
  for (const auto& [name, plugin] : builtin_catalog().backends)
    EXPECT_THAT(description(plugin), Not(HasSubstr("WARNING"))) << name;
}

}  // namespace
}  // namespace moebius::testing
