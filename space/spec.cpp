#include "space/spec.h"

#include <algorithm>
#include <cmath>

#include "space/base/check.h"
#include "space/base/text.h"
#include "space/base/units.h"

namespace moebius {
namespace {

constexpr std::size_t kMostSublayers = 1024;
constexpr std::size_t kLongestText = 64;

// What exporters add to a block; none of it changes what is built.
constexpr const char* kForeignKeys[] = {"name", "recipe", "provenance"};

bool is_word(const Json& value, const std::vector<std::string>& words) {
  return value.is_string() &&
         std::find(words.begin(), words.end(), value.get<std::string>()) != words.end();
}

Value read_number(const Reader& at, const Field& field) {
  if (is_word(at.value(), field.choices)) return at.as_text();
  if (field.choices.empty() || at.value().is_number()) return at.as_number(field.low, field.high);
  if (at.present())
    at.problem("must be a number or a word",
               fmt::format("{}..{}, {}", shortest(field.low), shortest(field.high),
                           join(field.choices, ", ")),
               describe(at.value()));
  return field.low;
}

Value read_text(const Reader& at) {
  const std::string result = at.as_text();
  if (at.value().is_string() && (result.empty() || result.size() > kLongestText))
    at.problem("wrong length", fmt::format("1..{} bytes", kLongestText), describe(at.value()));
  return result;
}

SubLayer read_sublayer(Reader reader, const LayerTypes& types) {
  SubLayer result;
  result.type = reader.choice("type", types.names());
  const LayerType* type = types.find(result.type);
  if (type == nullptr) return result;
  for (const Field& field : type->fields) {
    const bool left_out = !reader.has(field.name) && !field.fallback.empty();
    result.fields[field.name] = left_out ? normal_value(field, field.fallback.front())
                                         : read_value(reader.at(field.name), field);
  }
  for (const Field& field : type->fields) reader.note(field.name);
  reader.finish();
  return result;
}

TokenShape shape_of(const Spec& spec, TokenShape shape) {
  shape.d_model = spec.d_model;
  return shape;
}

}  // namespace

Field d_model_field() {
  return {.name = "d_model", .low = 1, .high = 1 << 24, .help = "width of the residual stream"};
}

Json to_json(const Value& value) {
  if (const auto* whole = std::get_if<std::int64_t>(&value)) return *whole;
  if (const auto* word = std::get_if<std::string>(&value)) return *word;
  const double real = std::get<double>(value);
  if (real == std::floor(real) && std::abs(real) < 0x1p53) return static_cast<std::int64_t>(real);
  return real;
}

Json to_json(const Spec& spec) {
  Json sublayers = Json::array();
  for (const SubLayer& sublayer : spec.sublayers) {
    Json& entry = sublayers.emplace_back(Json{{"type", sublayer.type}});
    for (const auto& [name, value] : sublayer.fields) entry[name] = to_json(value);
  }
  return {{"format", "moebius.block/1"},
          {"d_model", spec.d_model},
          {"stacks", spec.stacks},
          {"sublayers", std::move(sublayers)}};
}

Value read_value(const Reader& at, const Field& field) {
  switch (field.kind) {
    case Field::Kind::Integer:
      return at.as_integer(static_cast<std::int64_t>(field.low),
                           static_cast<std::int64_t>(field.high));
    case Field::Kind::Number:
      return read_number(at, field);
    case Field::Kind::Choice:
      return at.as_choice(field.choices);
    case Field::Kind::Text:
      return read_text(at);
  }
  MOEBIUS_CHECK(false, "[field] '{}' has no kind", field.name);
}

Spec read_spec(Reader reader, const LayerTypes& types) {
  Spec spec;
  reader.format("moebius.block/1");
  spec.d_model = std::get<std::int64_t>(read_value(reader.at("d_model"), d_model_field()));
  spec.stacks = reader.integer("stacks", 1, kDeepest);
  const std::vector<Reader> sublayers = reader.array("sublayers");
  if (sublayers.size() > kMostSublayers || reader.is_empty_array("sublayers"))
    reader.problem_at("sublayers", "wrong length", fmt::format("1..{} sub-layers", kMostSublayers),
                      std::to_string(sublayers.size()));
  else
    for (const Reader& sublayer : sublayers)
      spec.sublayers.push_back(read_sublayer(sublayer, types));
  if (spec.depth() > kDeepest)
    reader.problem_at("stacks", "too many sub-layers in the model", fmt::format("1..{}", kDeepest),
                      std::to_string(spec.depth()));
  for (const char* key : kForeignKeys) reader.note(key);
  reader.finish();
  return spec;
}

Spec read_spec(const Json& document, const std::string& file, const LayerTypes& types) {
  Problems problems(file);
  Spec spec = read_spec(Reader(document, "", problems), types);
  problems.raise();
  return spec;
}

std::string why_illegal(const Spec& spec, const LayerTypes& types, const TokenShape& shape) {
  for (std::size_t i = 0; i < spec.sublayers.size(); ++i) {
    const SubLayer& sublayer = spec.sublayers[i];
    const std::string reason =
        types.get(sublayer.type).why_illegal(sublayer.fields, shape_of(spec, shape));
    if (!reason.empty()) return fmt::format("/sublayers/{}/{}", i, reason);
  }
  return "";
}

std::string spec_hash(const Spec& spec) { return json_hash(to_json(spec)); }

std::string notation(const Spec& spec, const LayerTypes& types) {
  std::string letters;
  for (const SubLayer& sublayer : spec.sublayers) letters += types.get(sublayer.type).symbol;
  return fmt::format("{} x{}", letters, spec.stacks);
}

Causality causality(const Spec& spec, const LayerTypes& types, const TokenShape& shape) {
  Causality worst = Causality::Yes;
  for (const SubLayer& sublayer : spec.sublayers)
    worst =
        std::max(worst, types.get(sublayer.type).causality(sublayer.fields, shape_of(spec, shape)));
  return worst;
}

std::string rate_group(const Spec& spec, const LayerTypes& types) {
  RateGroup highest;
  for (const SubLayer& sublayer : spec.sublayers) {
    const LayerType& type = types.get(sublayer.type);
    if (!type.rate_group) continue;
    const RateGroup own = type.rate_group(sublayer.fields);
    if (own.rank > highest.rank) highest = own;
  }
  return highest.name;
}

bool mixes_tokens(const Spec& spec, const LayerTypes& types) {
  return std::any_of(spec.sublayers.begin(), spec.sublayers.end(), [&](const SubLayer& sublayer) {
    return types.get(sublayer.type).mixes_tokens;
  });
}

bool learns_positions(const Spec& spec, const LayerTypes& types) {
  return std::any_of(spec.sublayers.begin(), spec.sublayers.end(), [&](const SubLayer& sublayer) {
    const LayerType& type = types.get(sublayer.type);
    return type.wants_learned_positions && type.wants_learned_positions(sublayer.fields);
  });
}

}  // namespace moebius
