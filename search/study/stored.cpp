#include "search/study/stored.h"

#include <algorithm>

#include "space/base/text.h"

namespace moebius {
namespace {

Json json_of(const std::string& value) { return value; }
Json json_of(std::int64_t value) { return value; }
Json json_of(double value) { return value; }
Json json_of(const Budget& budget) { return to_string(budget); }
Json json_of(const Fields& fields) {
  Json result = Json::object();
  for (const auto& [name, value] : fields) result[name] = to_json(value);
  return result;
}
Json json_of(const std::vector<Spec>& specs) {
  Json result = Json::array();
  for (const Spec& spec : specs) result.push_back(to_json(spec));
  return result;
}
Json json_of(const std::vector<Baseline>& baselines) {
  Json result = Json::array();
  for (const Baseline& baseline : baselines)
    result.push_back({{"name", baseline.name}, {"spec", to_json(baseline.spec)}});
  return result;
}

// Reads the JSON of one field; what is wrong goes to the reader's problems.
struct FromJson {
  Reader at;
  const LayerTypes& types;

  void operator()(std::string& value) const { value = at.as_text(); }
  void operator()(std::int64_t& value) const {
    value = at.as_integer(std::numeric_limits<std::int64_t>::min(),
                          std::numeric_limits<std::int64_t>::max());
  }
  void operator()(double& value) const { value = at.as_number(-1e300, 1e300); }
  void operator()(Budget& value) const { value = parse_budget(at.as_text()); }
  void operator()(Fields& value) {
    for (const std::string& name : at.keys()) {
      const Reader option = at.at(name);
      if (option.value().is_string())
        value[name] = option.as_text();
      else if (option.value().is_number_integer())
        value[name] = option.as_integer(std::numeric_limits<std::int64_t>::min(),
                                        std::numeric_limits<std::int64_t>::max());
      else
        value[name] = option.as_number(-1e300, 1e300);
    }
  }
  void operator()(std::vector<Spec>& value) const {
    for (const Json& spec : at.value()) value.push_back(read_spec(spec, where(), types));
  }
  void operator()(std::vector<Baseline>& value) const {
    for (const Json& baseline : at.value())
      value.push_back(
          {baseline.value("name", ""), read_spec(baseline.value("spec", Json()), where(), types)});
  }
  std::string where() const { return at.problems().file() + ":" + at.pointer(); }
};

std::vector<Baseline> trained_baselines(const History& history) {
  std::vector<Baseline> result;
  for (const Trial* trial : history.of_role(TrialRole::Baseline))
    if (trial->parent < 0) result.push_back({trial->label, trial->spec});
  return result;
}

// "--budget BUDGET" -> "--budget"
std::string flag_of(const std::string& option) { return option.substr(0, option.find(' ')); }

template <class T>
std::string shown(const T& value) {
  const Json json = json_of(value);
  return json.is_string() ? json.get<std::string>() : json.dump();
}
std::string shown(const std::vector<Spec>& specs) {
  std::vector<std::string> hashes;
  for (const Spec& spec : specs) hashes.push_back(spec_hash(spec));
  return hashes.empty() ? "none" : "blocks " + join(hashes, ", ");
}
std::string shown(const std::vector<Baseline>& baselines) {
  std::vector<std::string> names;
  for (const Baseline& baseline : baselines)
    names.push_back(fmt::format("{} ({})", baseline.name, spec_hash(baseline.spec)));
  return names.empty() ? "none" : join(names, ", ");
}

class Differences {
 public:
  explicit Differences(const StudyConfig& stored, const StudyConfig& given)
      : stored_(stored), given_(given) {}

  std::vector<std::string> take() {
    compare_space();
    std::vector<std::pair<Json, std::string>> fields;
    for_each_field(stored_, [&](const ConfigField&, const auto& value) {
      fields.emplace_back(json_of(value), shown(value));
    });
    std::size_t next = 0;
    for_each_field(given_, [&](const ConfigField& field, const auto& value) {
      const auto& [json, text] = fields[next++];
      if (field.compared && json != json_of(value)) add(field.option, text, shown(value));
    });
    compare_recipe();
    return std::move(lines_);
  }

 private:
  void add(const std::string& option, const std::string& allowed, const std::string& got) {
    lines_.push_back(fmt::format("{}: study {} was made with another; allowed: {}; got: {}",
                                 flag_of(option), stored_.name, allowed, printable(got)));
  }

  // Baselines have an option of their own.
  void compare_space() {
    Json left = stored_.space.document(), right = given_.space.document();
    if (left.is_object()) left.erase("baseline");
    if (right.is_object()) right.erase("baseline");
    for (const std::string& line : diff(left, right))
      lines_.push_back(
          fmt::format("--space: study {} was made with another: {}", stored_.name, line));
  }

  void compare_recipe() {
    const Json left = to_json(stored_.recipe), right = to_json(given_.recipe);
    for (const auto& [key, value] : left.items()) {
      if (value == right[key]) continue;
      const std::string option = recipe_option(key);
      const auto text = [](const Json& json) {
        return json.is_string() ? json.get<std::string>() : json.dump();
      };
      add(option, text(value), text(right[key]));
    }
  }

  const StudyConfig &stored_, &given_;
  std::vector<std::string> lines_;
};

}  // namespace

StudySettings settings_of(const StudyConfig& config, const Json& provenance) {
  StudySettings settings;
  settings.name = config.name;
  settings.space = config.space.document();
  settings.recipe = to_json(config.recipe);
  settings.options = Json::object();
  settings.provenance = provenance;
  for_each_field(config, [&](const ConfigField& field, const auto& value) {
    (field.compared ? settings.options : settings.provenance)[field.key] = json_of(value);
  });
  settings.options.erase("seed");
  settings.options.erase("lag");
  settings.seed = static_cast<std::uint64_t>(config.seed);
  settings.lag = config.lag;
  return settings;
}

StudyConfig stored_config(ResultsDb& db, const StudyRow& row, const LayerTypes& types) {
  const StudySettings& settings = row.settings;
  const std::string file = "study " + settings.name;
  StudyConfig config;
  config.name = settings.name;
  config.space = Space::read(settings.space, file, types);
  config.recipe = read_recipe(settings.recipe, file);

  Problems problems(file);
  Json unknown = settings.options;
  for_each_field(config, [&](const ConfigField& field, auto& value) {
    const Json& place = field.compared ? settings.options : settings.provenance;
    const auto found = place.find(field.key);
    const Json& json = found != place.end() ? *found : field.absent;
    unknown.erase(field.key);
    if (!json.is_null()) FromJson{{json, "/options/" + field.key, problems}, types}(value);
  });
  // The rule of a quarter was the only one, with an option of its own.
  if (!settings.options.contains("stopper_options"))
    config.stopper_options["margin"] = settings.options.value("gate_margin", 0.02);
  unknown.erase("gate_margin");
  for (const auto& [key, value] : unknown.items())
    problems.add(
        "/options/" + key,
        fmt::format("release {} made this study with an option that this one does not know",
                    settings.provenance.value("version", "?")));
  problems.raise();
  config.seed = static_cast<std::int64_t>(settings.seed);
  config.lag = settings.lag;
  // Older releases stored the names of the space's baselines, not the blocks.
  if (settings.options.value("baselines", Json()).is_null()) {
    config.baselines = trained_baselines(db.history(row.id));
    if (config.baselines.empty()) config.baselines = space_baselines(config.space, types);
  }
  return config;
}

std::int64_t rules_of(const StudySettings& settings) {
  const Json rules = settings.options.value("rules", Json(1));
  return rules.is_number_integer() ? rules.get<std::int64_t>() : 0;
}

std::string rules_note(const StudySettings& settings) {
  const std::int64_t rules = rules_of(settings);
  if (rules == kRules) return "";
  return fmt::format(
      "study {} was made under rules {}, this release has rules {}: its figures are not compared "
      "with those of today, and it is not continued\n",
      settings.name, rules, kRules);
}

void check_rules(const StudyConfig& stored) {
  if (stored.rules == kRules) return;
  bad_input("--study",
            fmt::format("{} was made under rules {} of splits, ranking, losses and statistics, and "
                        "trials of other rules do not compare; start a new study, with --seed-from "
                        "and what 'moebius export TRIAL --study {}' writes",
                        stored.name, stored.rules, stored.name),
            fmt::format("a study of rules {}", kRules), fmt::format("rules {}", stored.rules));
}

std::string recipe_option(std::string key) {
  std::replace(key.begin(), key.end(), '_', '-');
  return "--" + key;
}

std::vector<std::string> differences(const StudyConfig& stored, const StudyConfig& given) {
  return Differences(stored, given).take();
}

}  // namespace moebius
