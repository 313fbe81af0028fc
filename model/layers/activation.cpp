#include "model/layers/activation.h"

#include <cmath>

#include "space/base/check.h"

namespace moebius {
namespace {

struct Named {
  const char* name;
  HiddenActivation activation;
};
constexpr Named kActivations[] = {
    {"relu", {Activation::Relu, false}},      {"gelu", {Activation::Gelu, false}},
    {"gated_relu", {Activation::Relu, true}}, {"gated_gelu", {Activation::Gelu, true}},
    {"gated_silu", {Activation::Silu, true}}, {"squared_relu", {Activation::SquaredRelu, false}},
};

}  // namespace

HiddenActivation hidden_activation(const std::string& name) {
  for (const Named& known : kActivations)
    if (name == known.name) return known.activation;
  throw Error(Exit::Bug, "[activation] '" + name + "' is not one of the field's choices");
}

Field activation_field() {
  Field field;
  field.name = "activation";
  field.kind = Field::Kind::Choice;
  for (const Named& known : kActivations) field.choices.emplace_back(known.name);
  field.help = "nonlinearity; gated_* multiplies a second projection in (3 matrices instead of 2)";
  return field;
}

HiddenWeights declare_hidden(const LayerSite& site, std::int64_t experts, std::int64_t hidden,
                             bool gated, Params& params) {
  const double in = 1 / std::sqrt(static_cast<double>(site.d_model));
  const double out = site.residual_scale / std::sqrt(static_cast<double>(hidden));
  auto declare = [&](const char* name, std::int64_t rows, std::int64_t cols, double stddev) {
    return params.declare({.name = site.name + "." + name,
                           .batch = experts,
                           .rows = rows,
                           .cols = cols,
                           .role = Role::Hidden,
                           .init = Init::normal(stddev)});
  };
  HiddenWeights weights;
  if (gated) weights.gate = declare("gate", site.d_model, hidden, in);
  weights.up = declare("up", site.d_model, hidden, in);
  weights.down = declare("down", hidden, site.d_model, out);
  return weights;
}

void activate_hidden(Step& step, const HiddenActivation& a, View up, View gate, View hidden) {
  if (a.gated) return step.backend.elementwise.glu(a.function, up, gate, hidden);
  step.backend.elementwise.activate(a.function, up, hidden, step.training() ? up : View{});
}

void activate_hidden_backward(Step& step, const HiddenActivation& a, View up, View gate,
                              View dhidden, View dup, View dgate) {
  if (a.gated)
    return step.backend.elementwise.glu_backward(a.function, up, gate, dhidden, dup, dgate);
  step.backend.elementwise.multiply(dhidden, up, dup);
}

void append_hidden(std::vector<Operation>& operations, std::int64_t rows, std::int64_t experts,
                   std::int64_t d_model, std::int64_t hidden, bool gated) {
  const Matmul in{.rows = rows, .n = hidden, .k = d_model, .batch = experts};
  if (gated) operations.push_back(in);
  operations.push_back(in);
  operations.push_back(Pass{.bytes = (gated ? 12 : 8) * static_cast<double>(rows * hidden)});
  operations.push_back(Matmul{.rows = rows, .n = d_model, .k = hidden, .batch = experts});
}

}  // namespace moebius
