#include "space/recipe.h"

#include <cmath>

#include "space/base/check.h"
#include "space/base/text.h"

namespace moebius {
namespace {

struct ReadField {
  Reader& reader;

  void operator()(const RecipeField& field, std::int64_t& value) const {
    value = reader.integer(field.key, std::llround(field.low), std::llround(field.high), value);
  }
  void operator()(const RecipeField& field, double& value) const {
    value = reader.number(field.key, field.low, field.high, value);
  }
  void operator()(const RecipeField& field, std::string& value) const {
    if (!field.words.empty()) {
      value = reader.choice(field.key, field.words, value);
      return;
    }
    value = reader.text(field.key, value);
    if (value.empty() && reader.has(field.key)) reader.problem_at(field.key, "must not be empty");
  }
  // One rate, or an object with a rate for each group.
  void operator()(const RecipeField& field, std::map<std::string, double>& rates) const {
    if (!reader.has(field.key)) return reader.note(field.key);
    const Reader at = reader.at(field.key);
    if (!at.value().is_object()) {
      rates = {{kDefaultRates, at.as_number(field.low, field.high)}};
      return;
    }
    Reader groups = at;
    rates.clear();
    for (const std::string& group : groups.keys())
      rates[group] = groups.number(group, field.low, field.high);
  }
};

// Every declared group gets a rate, the default group's where it is left out.
void complete_rates(Reader reader, const LayerTypes& types, std::map<std::string, double>& lr) {
  const std::set<std::string> declared = rate_groups(types);
  const std::vector<std::string> names(declared.begin(), declared.end());
  for (const auto& [group, unused] : lr)
    if (!declared.contains(group))
      reader.at("lr").problem_at(group, unknown_name("unknown key", group, names),
                                 join(names, ", "));
  if (!lr.contains(kDefaultRates))
    return reader.at("lr").problem(fmt::format("missing key \"{}\"", kDefaultRates));
  for (const std::string& group : declared) lr.emplace(group, lr.at(kDefaultRates));
}

}  // namespace

double Recipe::rate(const std::string& group) const {
  for (const std::string& name : {group, std::string(kDefaultRates)})
    if (const auto found = lr.find(name); found != lr.end()) return found->second;
  bad_input("recipe:/lr/" + group, "no learning rate");
}

double Recipe::hidden_rate(double rate, std::int64_t fan_in) const {
  const double share = lr_width / static_cast<double>(fan_in);
  return rate * (scales_updates() ? std::sqrt(share) : share);
}

Json to_json(const Recipe& recipe) {
  Json result;
  for_each_field(recipe,
                 [&](const RecipeField& field, const auto& value) { result[field.key] = value; });
  return result;
}

Recipe read_recipe(Reader reader) {
  Recipe r;
  for_each_field(r, ReadField{reader});
  if (!reader.has("micro_batch")) r.micro_batch = r.batch;
  reader.finish();

  if (r.batch % r.micro_batch != 0)
    reader.problem_at("micro_batch", "must divide batch", fmt::format("divisors of {}", r.batch),
                      std::to_string(r.micro_batch));
  if (r.warmup + r.decay > 1)
    reader.problem_at("decay", "warmup and decay are more than the whole budget",
                      fmt::format("0..{:.6g}", 1 - r.warmup), fmt::format("{:.6g}", r.decay));
  return r;
}

Recipe read_recipe(const Json& document, const std::string& file) {
  Problems problems(file);
  Recipe recipe = read_recipe(Reader(document, "/recipe", problems));
  problems.raise();
  return recipe;
}

Recipe overlaid(Recipe recipe, const Fields& given) {
  for_each_field(recipe, [&](const RecipeField& field, auto& value) {
    const auto found = given.find(field.key);
    if (found == given.end()) return;
    using T = std::remove_reference_t<decltype(value)>;
    if constexpr (std::same_as<T, std::map<std::string, double>>)
      for (auto& entry : value) entry.second = std::get<double>(found->second);
    else
      value = std::get<T>(found->second);
  });
  return recipe;
}

Recipe changed(const Recipe& recipe, const Fields& given) {
  const bool whole = recipe.micro_batch == recipe.batch;
  Recipe result = overlaid(recipe, given);
  if (!given.contains("micro_batch") && (whole || result.batch % recipe.micro_batch != 0))
    result.micro_batch = result.batch;
  // The reader checks what fields promise each other (micro_batch divides batch, known names).
  const Json document = to_json(result);
  Problems problems("recipe");
  result = read_recipe(Reader(document, "", problems));
  problems.raise();
  return result;
}

Recipe read_recipe(Reader reader, const LayerTypes& types) {
  Recipe recipe = read_recipe(reader);
  complete_rates(reader, types, recipe.lr);
  return recipe;
}

Recipe default_recipe(const LayerTypes& types) {
  const Json empty = Json::object();
  Problems problems("recipe");
  return read_recipe(Reader(empty, "", problems), types);
}

}  // namespace moebius
