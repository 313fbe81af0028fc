#pragma once
#include <cmath>
#include <cstdint>
#include <numeric>
#include <string>
#include <vector>

#include "model/learner.h"
#include "space/base/rng.h"
#include "tests/support/catalog.h"

namespace moebius::testing {

inline SubLayer attn(std::int64_t heads, std::int64_t head_dim,
                     const std::string& position = "relative_bias", std::int64_t conv = 0) {
  return {"attn",
          {{"heads", heads}, {"head_dim", head_dim}, {"position", position}, {"qkv_conv", conv}}};
}

inline SubLayer ffn(std::int64_t width, const std::string& activation = "gelu") {
  return {"ffn", {{"d_ffn", width}, {"activation", activation}}};
}

// capacity 0 means "none".
inline SubLayer moe(std::int64_t width, std::int64_t experts, const std::string& gating,
                    double capacity = 0, const std::string& group = "sequence",
                    const std::string& activation = "gelu") {
  const Value c = capacity == 0 ? Value("none") : Value(capacity);
  return {"moe",
          {{"d_moe", width},
           {"experts", experts},
           {"gating", gating},
           {"capacity", c},
           {"group", group},
           {"activation", activation}}};
}

inline Spec block(std::int64_t d_model, std::vector<SubLayer> sublayers, std::int64_t stacks = 1) {
  return {d_model, stacks, std::move(sublayers)};
}

inline Recipe recipe(std::int64_t batch, std::int64_t seq, std::int64_t micro_batch = 0) {
  Recipe result;
  result.batch = batch;
  result.seq = seq;
  result.micro_batch = micro_batch == 0 ? batch : micro_batch;
  return result;
}

inline LearnerOptions options(const std::string& precision = "f64", std::uint64_t seed = 1) {
  return {.backend = "reference", .backend_options = {.precision = precision}, .seed = seed};
}

inline std::vector<std::int32_t> random_tokens(std::int64_t count, std::int64_t vocab,
                                               std::uint64_t seed) {
  Rng rng(seed);
  std::vector<std::int32_t> tokens(static_cast<std::size_t>(count));
  for (std::int32_t& token : tokens)
    token = static_cast<std::int32_t>(rng.below(static_cast<std::uint64_t>(vocab)));
  return tokens;
}

// Weights far from the small initial ones, so that nothing is nearly linear and routing has clear
// preferences.
inline void shake(Learner& learner, std::uint64_t seed, double stddev = 0.4) {
  Rng rng(seed);
  for (const ParamSlot& slot : learner.params().slots()) {
    if (!is_trained(slot.role)) continue;
    std::vector<double> values(static_cast<std::size_t>(slot.size()));
    for (double& value : values)
      value = (slot.role == Role::Router ? 1 : stddev) * rng.normal() +
              (slot.rows == 1 ? 1 : 0);  // gains around one
    learner.write_value(slot.name, values);
  }
}

}  // namespace moebius::testing
