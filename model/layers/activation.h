#pragma once
#include <cstdint>
#include <string>
#include <vector>

#include "model/layer.h"

namespace moebius {

// What ffn and moe share: y = a(x up) down, or with a gated activation (GLU family, 2002.05202)
// y = (a(x gate) * (x up)) down. No biases.
struct HiddenActivation {
  Activation function = Activation::Relu;
  bool gated = false;
};

HiddenActivation hidden_activation(const std::string& name);
Field activation_field();

// [experts, D, F] gate (empty unless gated) and up, [experts, F, D] down.
struct HiddenWeights {
  Weight gate, up, down;
};
HiddenWeights declare_hidden(const LayerSite& site, std::int64_t experts, std::int64_t hidden,
                             bool gated, Params& params);

// hidden = a(up), or a(gate) * up. Training without a gate leaves a'(up) in `up` for the backward
// pass: two exponentials less, no more memory.
void activate_hidden(Step& step, const HiddenActivation& a, View up, View gate, View hidden);
void activate_hidden_backward(Step& step, const HiddenActivation& a, View up, View gate,
                              View dhidden, View dup, View dgate);

// Operations of `rows` rows spread over `experts` matrices of each kind.
void append_hidden(std::vector<Operation>& operations, std::int64_t rows, std::int64_t experts,
                   std::int64_t d_model, std::int64_t hidden, bool gated);

}  // namespace moebius
