#include <gtest/gtest.h>

#include "space/cost.h"
#include "tests/model/fake_plugins.h"

namespace moebius::testing {
namespace {

constexpr std::int64_t kBatch = 3, kSeq = 4, kVocab = 11, kWidth = 6;
constexpr double kStep = 1e-5;       // of the central difference
constexpr double kTolerance = 1e-6;  // of the tensor's largest gradient
constexpr int kCoordinates = 12;     // checked per tensor

struct Case {
  std::string name;
  Spec spec;
};

void PrintTo(const Case& value, std::ostream* out) { *out << value.name; }

// A learner with its batch: what the gradient is taken of, and the gradient.
class Objective {
 public:
  explicit Objective(const Spec& spec)
      : recipe_(testing::recipe(kBatch, kSeq)),
        learner_(spec, with_router_losses(recipe_), kVocab, options(), fake_catalog()),
        tokens_(random_tokens(kBatch * kSeq, kVocab, 3)),
        targets_(random_tokens(kBatch * kSeq, kVocab, 4)) {
    shake(learner_, 5);
  }

  // Cross-entropy and router losses, exactly what the gradients are of.
  double value() {
    const StepResult r = learner_.gradients(tokens_, targets_);
    return r.loss + recipe_.aux * r.aux + recipe_.z * r.z;
  }

  std::vector<double> gradient(const std::string& slot) {
    learner_.gradients(tokens_, targets_);
    return learner_.read_gradient(slot);
  }

  double central_difference(const std::string& slot, std::size_t i) {
    std::vector<double> values = learner_.read_value(slot);
    const double middle = values[i];
    const auto at = [&](double x) {
      values[i] = x;
      learner_.write_value(slot, values);
      return value();
    };
    const double high = at(middle + kStep), low = at(middle - kStep);
    at(middle);
    return (high - low) / (2 * kStep);
  }

  const Params& params() const { return learner_.params(); }

 private:
  static Recipe& with_router_losses(Recipe& recipe) {
    recipe.aux = 0.3;
    recipe.z = 0.2;
    return recipe;
  }

  Recipe recipe_;
  Learner learner_;
  std::vector<std::int32_t> tokens_, targets_;
};

// Largest error over a few coordinates, relative to the tensor's largest gradient.
double worst_error(Objective& objective, const std::string& slot,
                   const std::vector<double>& gradient) {
  double largest = 1e-3;  // a tensor without gradient is compared with this
  for (const double g : gradient) largest = std::max(largest, std::abs(g));
  Rng rng(derive_key(9, slot));
  double worst = 0;
  for (int n = 0; n < kCoordinates; ++n) {
    const auto i = static_cast<std::size_t>(rng.below(gradient.size()));
    worst = std::max(worst, std::abs(gradient[i] - objective.central_difference(slot, i)));
  }
  return worst / largest;
}

std::vector<Case> cases() {
  std::vector<Case> result;
  for (const char* position : {"relative_bias", "rope", "learned", "none"})
    result.push_back({std::string("attn_") + position,
                      block(kWidth, {attn(2, 4, position), attn(3, 2, position)})});
  result.push_back({"attn_conv", block(kWidth, {attn(2, 4, "relative_bias", 3)})});
  result.push_back({"attn_conv_rope", block(kWidth, {attn(2, 4, "rope", 3), ffn(5)})});
  for (const std::string activation :
       {"relu", "gelu", "gated_relu", "gated_gelu", "squared_relu", "gated_silu"}) {
    result.push_back({"ffn_" + activation, block(kWidth, {ffn(7, activation)}, 2)});
    result.push_back(
        {"moe_" + activation, block(kWidth, {moe(5, 4, "top2", 0, "sequence", activation)})});
  }
  const std::vector<std::pair<std::string, std::string>> groups = {
      {"sequence", "sequence"}, {"batch", "batch"}, {"position", "position"}, {"six", "tokens:6"}};
  for (const std::string& gating : fake_catalog().gatings.names()) {
    for (const auto& [name, group] : groups) {
      // 3 experts fill up with 3 or 6 tokens of a group, 4 experts with 4 or 12.
      const std::int64_t experts = group == "position" || group == "tokens:6" ? 3 : 4;
      for (const double capacity : {0.0, 1.0, 2.0}) {
        const Spec spec = block(kWidth, {attn(2, 4), moe(5, experts, gating, capacity, group)});
        if (!why_illegal(spec, fake_catalog().types, recipe(kBatch, kSeq)).empty()) continue;
        result.push_back({fmt::format("{}_{}_c{}", gating, name, capacity), spec});
      }
    }
  }
  result.push_back(
      {"bilinear", block(kWidth, {attn(2, 4), {"bilinear", {{"d_inner", std::int64_t{5}}}}})});
  result.push_back({"brainformer_1", block(kWidth,
                                           {attn(2, 4), ffn(5, "gated_gelu"),
                                            moe(5, 4, "expert_choice", 1, "sequence", "gated_gelu"),
                                            moe(5, 4, "expert_choice", 1, "sequence", "gated_gelu"),
                                            ffn(5, "gated_gelu")},
                                           2)});
  return result;
}

class Gradient : public ::testing::TestWithParam<Case> {};

TEST_P(Gradient, EqualsCentralDifferencesInEverySlot) {
  Objective objective(GetParam().spec);
  for (const ParamSlot& slot : objective.params().slots()) {
    if (!is_trained(slot.role)) continue;
    EXPECT_LE(worst_error(objective, slot.name, objective.gradient(slot.name)), kTolerance)
        << slot.name;
  }
}

INSTANTIATE_TEST_SUITE_P(Blocks, Gradient, ::testing::ValuesIn(cases()),
                         [](const auto& it) { return it.param.name; });

TEST(GradientCheck, CatchesAPlantedError) {
  Objective objective(block(kWidth, {attn(2, 4), moe(5, 4, "top2")}));
  for (const ParamSlot& slot : objective.params().slots()) {
    std::vector<double> gradient = objective.gradient(slot.name);
    for (double& g : gradient) g += 1e-4;
    EXPECT_GT(worst_error(objective, slot.name, gradient), kTolerance) << slot.name;
  }
}

}  // namespace
}  // namespace moebius::testing
