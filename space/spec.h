#pragma once
#include <cstdint>
#include <map>
#include <string>
#include <variant>
#include <vector>

#include "space/base/json.h"
#include "space/layer_type.h"

namespace moebius {

// The resolved block, a value: what a model is built from, what is hashed, exported and compared.
// Immutable by habit. JSON:
// {"format":"moebius.block/1","d_model":..,"stacks":..,"sublayers":[{"type":..,<every field its
// type declares>}]}

struct SubLayer {
  std::string type;  // name of a LayerType
  Fields fields;     // exactly the fields the type declares
  bool operator==(const SubLayer&) const = default;
};

struct Spec {
  std::int64_t d_model = 0;  // D
  std::int64_t stacks = 1;   // how often the block repeats
  std::vector<SubLayer> sublayers;
  bool operator==(const Spec&) const = default;

  std::int64_t depth() const {
    return stacks * static_cast<std::int64_t>(sublayers.size());
  }  // sub-layers of the whole model
};

constexpr std::int64_t kDeepest = 1 << 16;  // sub-layers of a whole model

Json to_json(const Spec& spec);
Json to_json(const Value& value);

// One value of a field, not coerced; a wrong one is reported.
Value read_value(const Reader& at, const Field& field);
Field d_model_field();

// Reads and checks a block against the declared types: unknown type, missing, unknown or
// out-of-range field, wrong format. Fields with a default may be left out. Problems go to the
// reader; the result is meaningful only when there are none.
Spec read_spec(Reader reader, const LayerTypes& types);
// The same from a whole document, in which the keys that exporters add ("name", "recipe",
// "provenance") are passed over. Error(BadInput) naming `file`.
Spec read_spec(const Json& document, const std::string& file, const LayerTypes& types);

// "" or the first reason why the block cannot be built for this micro-batch shape:
// "/sublayers/2/capacity: ...".
std::string why_illegal(const Spec& spec, const LayerTypes& types, const TokenShape& shape);

// 32 hex digits: XXH3-128 of the canonical JSON. Equal exactly for equal specs.
std::string spec_hash(const Spec& spec);

// One letter a sub-layer, as papers draw blocks: "agaf" x6 -> "agaf x6" (a attention, g mixture of
// experts, f dense FFN).
std::string notation(const Spec& spec, const LayerTypes& types);

// The least causal of the sub-layers.
Causality causality(const Spec& spec, const LayerTypes& types, const TokenShape& shape);

// Which learning rate of the recipe applies (RateGroup).
std::string rate_group(const Spec& spec, const LayerTypes& types);

// Whether any sub-layer mixes tokens; without one, no token sees another.
bool mixes_tokens(const Spec& spec, const LayerTypes& types);
// Whether any sub-layer wants them. They are one table [S, D] for the model.
bool learns_positions(const Spec& spec, const LayerTypes& types);

}  // namespace moebius
