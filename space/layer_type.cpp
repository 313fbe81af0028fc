#include "space/layer_type.h"

#include <array>

#include "space/base/check.h"
#include "space/base/units.h"

namespace moebius {
namespace {

constexpr std::array<const char*, 3> kCausalities = {"yes", "drops", "selection"};

const Value& find(const Fields& fields, const std::string& name) {
  const auto found = fields.find(name);
  MOEBIUS_CHECK(found != fields.end(), "[fields] no field '{}'", name);
  return found->second;
}

}  // namespace

std::int64_t integer(const Fields& fields, const std::string& name) {
  const auto* value = std::get_if<std::int64_t>(&find(fields, name));
  MOEBIUS_CHECK(value != nullptr, "[fields] '{}' is not an integer", name);
  return *value;
}

double number(const Fields& fields, const std::string& name) {
  const Value& value = find(fields, name);
  if (const auto* whole = std::get_if<std::int64_t>(&value)) return static_cast<double>(*whole);
  const auto* real = std::get_if<double>(&value);
  MOEBIUS_CHECK(real != nullptr, "[fields] '{}' is not a number", name);
  return *real;
}

std::string text(const Fields& fields, const std::string& name) {
  const auto* value = std::get_if<std::string>(&find(fields, name));
  MOEBIUS_CHECK(value != nullptr, "[fields] '{}' is not a text", name);
  return *value;
}

std::string value_text(const Value& value) {
  if (const auto* whole = std::get_if<std::int64_t>(&value)) return std::to_string(*whole);
  if (const auto* real = std::get_if<double>(&value)) return shortest(*real);
  return std::get<std::string>(value);
}

Value normal_value(const Field& field, const Value& value) {
  const auto* whole = std::get_if<std::int64_t>(&value);
  if (field.kind == Field::Kind::Number && whole != nullptr) return static_cast<double>(*whole);
  return value;
}

std::string causality_text(Causality causality) {
  return kCausalities.at(static_cast<std::size_t>(causality));
}

const Field* find_field(const LayerType& type, const std::string& name) {
  for (const Field& field : type.fields)
    if (field.name == name) return &field;
  return nullptr;
}

std::set<std::string> rate_groups(const LayerTypes& types) {
  std::set<std::string> names = {kDefaultRates};
  for (const auto& [name, type] : types)
    names.insert(type.rate_groups.begin(), type.rate_groups.end());
  return names;
}

}  // namespace moebius
