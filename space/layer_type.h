#pragma once
#include <cstdint>
#include <functional>
#include <map>
#include <set>
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

// How a field follows the size of a model (space/scale.h).
enum class Scaling {
  None,       // the same at every scale
  Width,      // with the model's width D: reals exactly, integers in whole steps
  Heads,      // a count of heads; baselines give it as a ratio to D / K
  HeadWidth,  // the scale's K
  Experts,    // the scale's E
};

// One field of a sub-layer: an integer or a number in [low, high], or one of `choices`, or (words)
// either.
struct Field {
  std::string name;
  enum class Kind { Integer, Number, Choice, Text } kind = Kind::Integer;
  double low = 0, high = 0;  // inclusive; Integer and Number
  // Choice: all values; Number: words allowed beside numbers ("none").
  std::vector<std::string> choices = {};
  std::vector<Value> fallback = {};  // empty = required; else one value
  std::string help = "";
  Scaling scaling = Scaling::None;
  bool iso_flops = false;  // a hidden width that iso_flops() may solve for
};
// The value as specs hold it: integers widen in Number fields, so that equal specs compare equal.
Value normal_value(const Field& field, const Value& value);

// How the training of a sub-layer treats the future (DESIGN: measured, not assumed).
enum class Causality { Yes, Drops, Selection };   // ordered from best to worst
std::string causality_text(Causality causality);  // "yes", "drops", "selection"

constexpr const char* kDefaultRates = "dense";  // the group of blocks that ask for no other

// Blocks of one group share a learning rate (Recipe::lr). Of the groups that a block's sub-layers
// ask for, the one of the highest rank counts.
struct RateGroup {
  std::string name = kDefaultRates;
  int rank = 0;
};

struct LayerType {
  std::string name;
  char symbol = '?';  // one letter of a block's notation
  std::string help;
  std::vector<Field> fields;
  bool mixes_tokens = false;  // a token's result depends on other tokens
  bool routes = false;        // has a router
  // "" or why these fields cannot be built for this shape.
  std::function<std::string(const Fields&, const TokenShape&)> why_illegal;
  // Forward operations for one micro-batch; backward costs twice the products (space/cost.h).
  std::function<std::vector<Operation>(const Fields&, const TokenShape&)> operations;
  std::function<Causality(const Fields&, const TokenShape&)> causality;
  // The following may be empty: no, none, the default group.
  // Whether the model adds a learned table of positions to the embedding.
  std::function<bool(const Fields&)> wants_learned_positions = {};
  // The name of the field whose value needs all sequences of a batch at once; "" = none does.
  std::function<std::string(const Fields&)> needs_whole_batch = {};
  std::function<RateGroup(const Fields&)> rate_group = {};
  std::vector<std::string> rate_groups = {};  // every name that rate_group may give
};

using LayerTypes = Registry<LayerType>;

// The field of that name; nullptr when the type has none.
const Field* find_field(const LayerType& type, const std::string& name);
// Every name a recipe may give a rate: kDefaultRates and those the types declare.
std::set<std::string> rate_groups(const LayerTypes& types);

}  // namespace moebius
