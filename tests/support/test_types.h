#pragma once
#include <algorithm>
#include <cmath>
#include <string>
#include <vector>

#include "space/layer_type.h"
#include "space/space.h"

namespace moebius::testing {

// Sub-layer types with the fields and products of the real ones (model/layers/), for tests of
// space/, which may not link model/.

inline bool gated(const std::string& activation) { return activation.starts_with("gated_"); }

inline double pairs_per_token(const Fields& fields) {
  const std::string gating = text(fields, "gating");
  const double choices = gating == "top2" ? 2 : 1;
  const auto* word = std::get_if<std::string>(&fields.at("capacity"));
  const double capacity = word ? choices : number(fields, "capacity");
  return gating == "expert_choice" ? capacity : std::min(choices, capacity);
}

inline std::string why_bad_group(const Fields& fields, const TokenShape& shape) {
  if (std::holds_alternative<std::string>(fields.at("capacity"))) return "";
  const std::string group = text(fields, "group");
  const std::int64_t tokens = group == "sequence"   ? shape.seq
                              : group == "position" ? shape.batch
                              : group == "batch"    ? shape.tokens()
                                                    : std::stoll(group.substr(7));
  const double slots = number(fields, "capacity") * static_cast<double>(tokens) /
                       static_cast<double>(integer(fields, "experts"));
  if (slots == std::floor(slots)) return "";
  return fmt::format("capacity: {} slots an expert in a group of {}", slots, tokens);
}

inline LayerType attn_type() {
  LayerType type;
  type.name = "attn";
  type.symbol = 'a';
  type.fields = {{.name = "heads", .low = 1, .high = 4096, .scaling = Scaling::Heads},
                 {.name = "head_dim", .low = 1, .high = 1024, .scaling = Scaling::HeadWidth},
                 {.name = "position",
                  .kind = Field::Kind::Choice,
                  .choices = {"relative_bias", "rope", "learned", "none"},
                  .fallback = {std::string("relative_bias")}},
                 {.name = "qkv_conv", .low = 0, .high = 3, .fallback = {std::int64_t{0}}}};
  type.operations = [](const Fields& fields, const TokenShape& shape) -> std::vector<Operation> {
    const std::int64_t heads = integer(fields, "heads"), k = integer(fields, "head_dim");
    const Attention attention{shape.batch, shape.seq, heads, k};
    const Matmul in{.rows = shape.tokens(), .n = heads * k, .k = shape.d_model};
    const Matmul out{.rows = shape.tokens(), .n = shape.d_model, .k = heads * k};
    return {in, in, in, attention, out};
  };
  type.why_illegal = [](const Fields& fields, const TokenShape&) -> std::string {
    const std::int64_t taps = integer(fields, "qkv_conv");
    return taps == 0 || taps == 3 ? "" : "qkv_conv: must be 0 or 3";
  };
  type.causality = [](const Fields&, const TokenShape&) { return Causality::Yes; };
  type.mixes_tokens = true;
  type.wants_learned_positions = [](const Fields& fields) {
    return text(fields, "position") == "learned";
  };
  return type;
}

inline Field activation_field() {
  return {.name = "activation",
          .kind = Field::Kind::Choice,
          .choices = {"relu", "gelu", "gated_relu", "gated_gelu", "squared_relu", "gated_silu"}};
}

// The up, gate and down products of `rows` rows through `experts` networks.
inline std::vector<Operation> hidden(std::int64_t rows, std::int64_t experts, std::int64_t d,
                                     std::int64_t f, bool is_gated) {
  const Matmul up{.rows = rows, .n = f, .k = d, .batch = experts};
  const Matmul down{.rows = rows, .n = d, .k = f, .batch = experts};
  if (is_gated) return {up, up, down};
  return {up, down};
}

inline LayerType moe_type() {
  LayerType type;
  type.name = "moe";
  type.symbol = 'g';
  type.fields = {
      {.name = "d_moe", .low = 1, .high = 1 << 20, .scaling = Scaling::Width, .iso_flops = true},
      {.name = "experts", .low = 1, .high = 4096, .scaling = Scaling::Experts},
      {.name = "gating", .kind = Field::Kind::Choice, .choices = {"top2", "top1", "expert_choice"}},
      {.name = "capacity", .kind = Field::Kind::Number, .low = 0, .high = 64, .choices = {"none"}},
      {.name = "group", .kind = Field::Kind::Text, .fallback = {std::string("sequence")}},
      activation_field()};
  type.operations = [](const Fields& fields, const TokenShape& shape) {
    const std::int64_t experts = integer(fields, "experts");
    const std::int64_t rows =
        std::llround(pairs_per_token(fields) * static_cast<double>(shape.tokens()));
    auto result = hidden(rows, experts, shape.d_model, integer(fields, "d_moe"),
                         gated(text(fields, "activation")));
    result.push_back(Matmul{.rows = shape.tokens(), .n = experts, .k = shape.d_model});
    result.push_back(Exchange{.bytes = 8 * static_cast<double>(rows * shape.d_model)});
    return result;
  };
  type.why_illegal = why_bad_group;
  type.causality = [](const Fields& fields, const TokenShape&) {
    if (std::holds_alternative<std::string>(fields.at("capacity"))) return Causality::Yes;
    return text(fields, "gating") == "expert_choice" ? Causality::Selection : Causality::Drops;
  };
  type.routes = true;
  type.needs_whole_batch = [](const Fields& fields) -> std::string {
    const std::string group = text(fields, "group");
    return group == "position" || group == "batch" ? "group" : "";
  };
  type.rate_group = [](const Fields& fields) -> RateGroup {
    if (text(fields, "gating") == "expert_choice") return {"expert_choice", 2};
    return {"token_choice", 1};
  };
  type.rate_groups = {"token_choice", "expert_choice"};
  return type;
}

inline LayerType ffn_type() {
  LayerType type;
  type.name = "ffn";
  type.symbol = 'f';
  type.fields = {
      {.name = "d_ffn", .low = 1, .high = 1 << 20, .scaling = Scaling::Width, .iso_flops = true},
      activation_field()};
  type.operations = [](const Fields& fields, const TokenShape& shape) {
    return hidden(shape.tokens(), 1, shape.d_model, integer(fields, "d_ffn"),
                  gated(text(fields, "activation")));
  };
  type.why_illegal = [](const Fields&, const TokenShape&) { return std::string(); };
  type.causality = [](const Fields&, const TokenShape&) { return Causality::Yes; };
  return type;
}

inline const LayerTypes& test_types() {
  static const LayerTypes types = [] {
    LayerTypes all("sub-layer type");
    all.add("attn", attn_type());
    all.add("moe", moe_type());
    all.add("ffn", ffn_type());
    return all;
  }();
  return types;
}

// What `action` throws, or "" when it does not.
template <class Action>
std::string error_of(Action action, Exit code = Exit::BadInput) {
  try {
    action();
  } catch (const Error& error) {
    return error.code() == code ? error.what() : std::string("another exit: ") + error.what();
  }
  return "";
}

// A space of the paper's three types over few choices, for tests that enumerate it: 6 knobs,
// 3^3 * 2 * 2 * 2 * 2 * 2 = 864 points.
inline const char* small_space_text() {
  return R"({"format": "moebius.space/1", "name": "small",
 "block": {"sublayers": 3, "stacks": 2},
 "scale": "nano",
 "knobs": {
  "type": {"per": "sublayer", "choices": ["attn", "moe", "ffn"]},
  "d_model": {"per": "block", "choices": [32, 64]},
  "d_moe": {"per": "block", "choices": [32, 48]},
  "d_ffn": {"per": "block", "choices": [64, 96]},
  "heads": {"per": "block", "choices": [2, 4]},
  "activation": {"per": "block", "choices": ["relu", "gelu"]}},
 "fixed": {"experts": 4, "head_dim": 8, "gating": "top2", "capacity": 2},
 "recipe": {"batch": 8, "seq": 64},
 "constraints": [{"metric": "active_flops", "min_over_baseline": 0.5}],
 "baseline": "glam"})";
}

inline Json small_space() { return parse_json(small_space_text(), "small.json"); }

inline Space read_space(const Json& document) {
  return Space::read(document, "s.json", test_types());
}

// {"type": ["attn", ..], "d_model": 32, ..} as a point.
inline Point point_of(const Space& space, const Json& choices) {
  Point result;
  for (const Slot& slot : space.slots()) {
    const Knob& knob = space.knobs()[slot.knob];
    const Json& given = choices.at(knob.name);
    const Json& wanted = given.is_array() ? given.at(slot.position) : given;
    const auto found = std::find_if(knob.choices.begin(), knob.choices.end(),
                                    [&](const Value& value) { return to_json(value) == wanted; });
    MOEBIUS_CHECK(found != knob.choices.end(), "{} is no choice of {}", wanted.dump(), knob.name);
    result.push_back(static_cast<std::int32_t>(found - knob.choices.begin()));
  }
  return result;
}

// Every point of a space, in order.
inline std::vector<Point> every_point(const Space& space) {
  std::vector<Point> result;
  Point point(space.slots().size(), 0);
  while (true) {
    result.push_back(point);
    std::size_t s = 0;
    for (; s < point.size(); ++s) {
      const auto choices = space.knobs()[space.slots()[s].knob].choices.size();
      if (static_cast<std::size_t>(++point[s]) < choices) break;
      point[s] = 0;
    }
    if (s == point.size()) return result;
  }
}

}  // namespace moebius::testing
