// The learner's gradient sink: a weight is updated by all contributions of a step, or the program
// says which weight it is.

#include "model/gradients.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/model/model_support.h"

namespace moebius::testing {
namespace {

using ::testing::HasSubstr;

constexpr std::int64_t kBatch = 4, kSeq = 6, kVocab = 13, kWidth = 8;

Weight declared(Params& params, const std::string& name, std::int64_t width) {
  for (int i = 0; i < static_cast<int>(params.slots().size()); ++i)
    if (params.slot({i}).name == name) return {i};
  return params.declare({.name = name, .rows = width, .cols = width, .init = Init::normal(0.3)});
}

// y = (h W) W with one matrix, and a weight that nothing uses.
class Twice : public Layer {
 public:
  Twice(const LayerSite& site, Params& params)
      : w_(declared(params, site.name + ".w", site.d_model)) {
    declared(params, site.name + ".spare", 2);
  }
  const void* forward(Step& step, View h, View y) const override {
    View& z = step.arena.context<View>();
    z = step.keep(h.rows, h.cols);
    step.backend.products.matmul(h, w_, z);
    step.backend.products.matmul(z, w_, y);
    return step.training() ? &z : nullptr;
  }
  void backward(Step& step, const void* context, View h, View dy, View dh) const override {
    const Arena::Scope scope(step.arena);
    const View z = *static_cast<const View*>(context), dz = step.scratch(h.rows, h.cols);
    step.backend.products.matmul_backward(z, dy, w_, dz, false);
    step.backend.products.matmul_backward(h, dz, w_, dh, false);
  }

 private:
  Weight w_;
};

// y = h W with one W for all sub-layers of the model. `contributions`, where it is given, says how
// often a backward pass contributes to dW.
class Tied : public Layer {
 public:
  Tied(const LayerSite& site, Params& params, const int* contributions = nullptr)
      : w_(declared(params, "tied.w", site.d_model)), contributions_(contributions) {}
  const void* forward(Step& step, View h, View y) const override {
    step.backend.products.matmul(h, w_, y);
    return this;
  }
  void backward(Step& step, const void*, View h, View dy, View dh) const override {
    const int count = contributions_ == nullptr ? 1 : *contributions_;
    for (int i = 0; i < count; ++i) step.backend.products.matmul_backward(h, dy, w_, dh, false);
  }

 private:
  Weight w_;
  const int* contributions_;
};

Catalog catalog_with(const int* contributions = nullptr) {
  return Catalog([=](Catalog& all) {
    const auto add = [&](const std::string& name, auto make) {
      const auto type = [name](const Catalog& catalog) {
        LayerType of = catalog.layers.get("ffn").type(catalog);
        of.name = name;
        of.fields = {};
        of.operations = [](const Fields&, const TokenShape&) { return std::vector<Operation>{}; };
        return of;
      };
      all.layers.add(name, {type, make});
    };
    add("twice", [](const Fields&, const LayerSite& site, Params& params, const Catalog&) {
      return std::unique_ptr<Layer>(std::make_unique<Twice>(site, params));
    });
    add("tied", [=](const Fields&, const LayerSite& site, Params& params, const Catalog&) {
      return std::unique_ptr<Layer>(std::make_unique<Tied>(site, params, contributions));
    });
  });
}

Spec shared_weights() {
  return block(kWidth, {{"tied", {}}, attn(2, 4), {"twice", {}}, {"tied", {}}, ffn(12)});
}

Recipe unclipped(double clip, std::int64_t micro_batch = kBatch) {
  Recipe r = recipe(kBatch, kSeq, micro_batch);
  r.clip = clip;
  r.weight_decay = 0.1;
  return r;
}

std::vector<std::int32_t> tokens(std::uint64_t seed) {
  return random_tokens(kBatch * kSeq, kVocab, seed);
}

std::vector<std::vector<double>> trained(const Recipe& r, const LearnerOptions& how) {
  const Catalog catalog = catalog_with();
  Learner learner(shared_weights(), r, kVocab, how, catalog);
  for (std::uint64_t t = 0; t < 3; ++t)
    learner.train(tokens(t), tokens(t + 9), static_cast<std::int64_t>(t), 3);
  std::vector<std::vector<double>> values;
  for (const ParamSlot& slot : learner.params().slots())
    values.push_back(learner.read_value(slot.name));
  return values;
}

// Clipping at a bound that no norm reaches forbids updates in the backward pass, and is otherwise
// nothing.
TEST(Gradients, OfSharedWeightsAreCompleteBeforeTheyAreUpdated) {
  for (const std::string backend : {"reference", "cpu"})
    for (const std::int64_t micro_batch : {kBatch, kBatch / 2}) {
      SCOPED_TRACE(fmt::format("{} {}", backend, micro_batch));
      LearnerOptions how = options("fp32");
      how.backend = backend;
      EXPECT_EQ(trained(unclipped(0, micro_batch), how), trained(unclipped(1e9, micro_batch), how));
    }
}

// The gradient is that of the loss, by central differences.
TEST(Gradients, OfSharedWeightsAreThoseOfTheLoss) {
  const Catalog catalog = catalog_with();
  Learner learner(shared_weights(), unclipped(1), kVocab, options(), catalog);
  for (const std::string slot : {"tied.w", "stack.0.sublayer.2.twice.w"}) {
    learner.gradients(tokens(1), tokens(2));
    const auto gradient = learner.read_gradient(slot);
    auto values = learner.read_value(slot);
    for (const std::size_t i : {0, 13, 50}) {
      const auto loss = [&](double change) {
        auto moved = values;
        moved[i] += change;
        learner.write_value(slot, moved);
        return learner.gradients(tokens(1), tokens(2)).loss;
      };
      EXPECT_NEAR(gradient[i], (loss(1e-5) - loss(-1e-5)) / 2e-5, 1e-8) << slot << " " << i;
      loss(0);
    }
  }
}

TEST(Gradients, AreKeptOnlyWhereAWeightHasMoreThanOneContribution) {
  const Catalog catalog = catalog_with();
  const auto kept = [&](const Recipe& r) {
    const Learner learner(shared_weights(), r, kVocab, options(), catalog);
    std::vector<std::string> names;
    for (int i = 0; i < static_cast<int>(learner.params().slots().size()); ++i)
      if (learner.params().slot({i}).role == Role::Hidden && learner.params().has_gradient({i}))
        names.push_back(learner.params().slot({i}).name);
    return names;
  };
  EXPECT_THAT(kept(unclipped(0)), ::testing::ElementsAre("tied.w", "stack.0.sublayer.2.twice.w",
                                                         "stack.0.sublayer.2.twice.spare"));
  EXPECT_EQ(kept(unclipped(0, 2)).size(), 9u);
  EXPECT_EQ(kept(unclipped(1)).size(), 9u);
}

TEST(Gradients, OfAWeightThatNothingUsesAreZero) {
  const Catalog catalog = catalog_with();
  Learner learner(shared_weights(), unclipped(1), kVocab, options(), catalog);
  const std::string spare = "stack.0.sublayer.2.twice.spare";
  const double before = learner.read_value(spare)[0];
  for (int t = 0; t < 2; ++t) learner.train(tokens(1), tokens(2), t, 2);
  EXPECT_EQ(learner.read_gradient(spare)[0], 0);
  EXPECT_NEAR(learner.read_value(spare)[0] / before, 1, 0.1);  // its weight decays
}

std::string message(const std::function<void()>& call) {
  try {
    call();
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), Exit::Bug);
    return error.what();
  }
  return "nothing was thrown";
}

// A layer whose steps are not those of the dry run.
TEST(Gradients, OfAnotherNumberThanThePlanCountedNameTheWeight) {
  int contributions = 1;
  const Catalog catalog = catalog_with(&contributions);
  for (const std::string backend : {"reference", "cpu"})
    for (const double clip : {0.0, 1.0})
      for (const std::size_t layers : {1, 2}) {
        SCOPED_TRACE(fmt::format("{} {} {}", backend, clip, layers));
        LearnerOptions how = options("fp32");
        how.backend = backend;
        contributions = 1;
        const Spec spec = block(kWidth, std::vector<SubLayer>(layers, {"tied", {}}));
        Learner learner(spec, unclipped(clip), kVocab, how, catalog);
        const auto train = [&] { learner.train(tokens(1), tokens(2), 0, 1); };
        contributions = 2;
        EXPECT_THAT(message(train),
                    HasSubstr(fmt::format("'tied.w' gets contribution {} of a step, "
                                          "but the plan counted {}",
                                          layers + 1, layers)));
        contributions = 0;
        EXPECT_THAT(message(train), HasSubstr("'tied.w' got 0 contributions in a step"));
        contributions = 1;
        train();
      }
}

TEST(Gradients, SayWhichContributionIsTheFirstAndTheLast) {
  Params params;
  const Weight a = params.declare({.name = "a", .rows = 1, .cols = 1, .init = {}});
  const Weight b = params.declare({.name = "b", .rows = 1, .cols = 1, .init = {}});
  params.drop_gradient(b);
  StepGradients gradients(params, {3, 1});
  const Update update = {Adafactor{}, {}};
  for (int step = 0; step < 2; ++step) {
    gradients.begin();
    gradients.update_at_once(b, update, {});
    for (int i = 0; i < 3; ++i) {
      const Contribution c = gradients.next(a, Producer::Other);
      EXPECT_EQ(c.first, i == 0);
      EXPECT_EQ(c.last, i == 2);
      EXPECT_EQ(c.update, nullptr);
    }
    EXPECT_THAT(message([&] { gradients.end(); }), HasSubstr("'b' got 0"));
    EXPECT_NE(gradients.next(b, Producer::Product).update, nullptr);
    gradients.end();
  }
  EXPECT_THAT(message([&] { gradients.next(a, Producer::Other); }), HasSubstr("'a' gets"));
  EXPECT_THAT(message([&] { gradients.update_at_once(a, update, {}); }), HasSubstr("'a' cannot"));
  gradients.begin();
  gradients.update_at_once(b, update, {});
  EXPECT_THAT(message([&] { gradients.next(b, Producer::Other); }), HasSubstr("not by a product"));
}

}  // namespace
}  // namespace moebius::testing
