#pragma once
#include <cstdint>
#include <functional>
#include <map>
#include <string>
#include <variant>
#include <vector>

#include "space/base/registry.h"
#include "space/operation.h"

namespace moebius {

// What a search must know of a sub-layer type. space/ declares the words; model/layers/x.cpp
// supplies the values.

using Value = std::variant<std::int64_t, double, std::string>;
using Fields = std::map<std::string, Value>;  // ordered, so that its JSON is canonical

// Error(Bug) when the field is absent or of another kind: fields were checked when the spec was
// read.
std::int64_t integer(const Fields& fields, const std::string& name);
double number(const Fields& fields, const std::string& name);  // integers widen
std::string text(const Fields& fields, const std::string& name);
std::string value_text(const Value& value);

// Tokens of one micro-batch: T = B * S rows.
struct TokenShape {
  std::int64_t batch = 1;    // B, of the micro-batch
  std::int64_t seq = 1;      // S
  std::int64_t d_model = 0;  // D
  std::int64_t tokens() const { return batch * seq; }
};

// One field of a sub-layer: an integer or a number in [low, high], or one of `choices`, or (words)
// either.
struct Field {
  std::string name;
  enum class Kind { Integer, Number, Choice, Text } kind = Kind::Integer;
  double low = 0, high = 0;  // inclusive; Integer and Number
  std::vector<std::string> choices =
      {};  // Choice: all values; Number: words allowed beside numbers ("none")
  std::vector<Value> fallback = {};  // empty = required; else one value
  std::string help = "";
};
// The value as specs hold it: integers widen in Number fields, so that equal specs compare equal.
Value normal_value(const Field& field, const Value& value);

// How a sub-layer treats the future (DESIGN: measured, not assumed).
enum class Causality { Yes, Drops, Selection };   // ordered from best to worst
std::string causality_text(Causality causality);  // "yes", "drops", "selection"

struct LayerType {
  std::string name;   // "attn"
  char symbol = '?';  // 'a'
  std::string help;
  std::vector<Field> fields;
  // "" or why these fields cannot be built for this shape.
  std::function<std::string(const Fields&, const TokenShape&)> why_illegal;
  // Forward operations for one micro-batch; backward costs twice the matmuls (space/cost.h).
  std::function<std::vector<Operation>(const Fields&, const TokenShape&)> operations;
  std::function<Causality(const Fields&, const TokenShape&)> causality;
  // "" (does not care), "token_choice" or "expert_choice".
  std::function<std::string(const Fields&)> family;
};

using LayerTypes = Registry<LayerType>;

}  // namespace moebius
