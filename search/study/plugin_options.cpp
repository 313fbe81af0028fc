#include "search/study/plugin_options.h"

#include <algorithm>

#include "space/base/text.h"
#include "space/spec.h"

namespace moebius {
namespace {

const Field& field_of(const std::string& option, const std::string& name,
                      const std::vector<Field>& fields) {
  std::vector<std::string> names;
  for (const Field& field : fields) {
    if (field.name == name) return field;
    names.push_back(field.name);
  }
  bad_input(option, unknown_name("unknown option '" + printable(name) + "'", name, names),
            names.empty() ? "none for this plug-in" : join(names, ", "));
}

Value checked(const std::string& option, const Field& field, const Json& json) {
  Problems problems(option);
  const Value value = read_value(Reader(json, " " + field.name, problems), field);
  problems.raise();
  return normal_value(field, value);
}

}  // namespace

StudyPlugins::StudyPlugins(const LayerTypes& layer_types)
    : types(layer_types), samplers(moebius::samplers()), stoppers(moebius::stoppers()) {}

Fields settled_sampler_options(const StudyConfig& config, const Registry<SamplerPlugin>& plugins) {
  const SamplerPlugin& plugin = plugins.get(config.sampler);
  return settled("--sampler-option", config.sampler_options,
                 plugin.defaults ? plugin.defaults(config.trials) : Fields(), plugin.options);
}

Fields settled_stopper_options(const StudyConfig& config, const Registry<StopperPlugin>& plugins) {
  return settled("--stopper-option", config.stopper_options, {},
                 plugins.get(config.stopper).options);
}

Fields read_words(const std::string& option, const std::vector<std::string>& words,
                  const std::vector<Field>& fields) {
  Fields result;
  for (const std::string& word : words) {
    const std::size_t equals = word.find('=');
    if (equals == std::string::npos)
      bad_input(option, "must be NAME=VALUE", "such as population=16", printable(word));
    const Field& field = field_of(option, word.substr(0, equals), fields);
    const std::string text = word.substr(equals + 1);
    Json json = Json::parse(text, nullptr, false);
    if (!json.is_number() || field.kind == Field::Kind::Text) json = text;
    result[field.name] = checked(option, field, json);
  }
  return result;
}

Fields settled(const std::string& option, const Fields& given, const Fields& defaults,
               const std::vector<Field>& fields) {
  Fields result;
  for (const auto& [name, value] : given)
    result[name] = checked(option, field_of(option, name, fields), to_json(value));
  for (const Field& field : fields) {
    if (const auto found = defaults.find(field.name); found != defaults.end())
      result.insert(*found);
    else if (!field.fallback.empty())
      result.emplace(field.name, field.fallback.front());
    if (!result.contains(field.name)) bad_input(option, field.name + " is required");
  }
  return result;
}

std::string describe_fields(const std::vector<Field>& fields) {
  std::vector<std::string> parts;
  for (const Field& field : fields)
    parts.push_back(fmt::format("{}={} ({})", field.name,
                                field.kind == Field::Kind::Integer  ? "N"
                                : field.kind == Field::Kind::Number ? "X"
                                                                    : "WORD",
                                field.help));
  return join(parts, ", ");
}

}  // namespace moebius
