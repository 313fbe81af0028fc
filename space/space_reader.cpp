#include <algorithm>

#include "space/base/check.h"
#include "space/base/text.h"
#include "space/scale.h"
#include "space/space.h"

namespace moebius {

// Reads one document into a Space, collecting every problem.
class SpaceReader {
 public:
  SpaceReader(const Json& document, const std::string& file, const LayerTypes& types)
      : types_(types), problems_(file), root_(document, "", problems_) {
    space_.document_ = document;
    space_.types_ = &types;
  }

  Space read() {
    read_frame();
    find_types();
    read_knobs();
    read_fixed();
    check_all_set();
    read_constraints();
    read_baselines();
    root_.finish();
    problems_.raise();
    check_any_legal();
    return std::move(space_);
  }

 private:
  static constexpr std::int64_t kMostSublayers = 64;
  static constexpr std::size_t kMostChoices = 4096;
  static constexpr std::size_t kMostTypes = 12;  // sets of types are counted one by one

  void read_frame() {
    root_.format("moebius.space/1");
    space_.name_ = root_.text("name");
    const std::string reason = why_bad_name(space_.name_);
    if (root_.has("name") && !reason.empty())
      root_.problem_at("name", reason, "", describe(root_.value()["name"]));
    root_.text("description", "");
    Reader block = root_.object("block");
    space_.sublayers_ = block.integer("sublayers", 1, kMostSublayers);
    space_.stacks_ = block.integer("stacks", 1, kDeepest / kMostSublayers);
    block.finish();
    std::vector<std::string> rows;
    for (const Scale& row : scales()) rows.push_back(row.name);
    space_.scale_ = root_.choice("scale", rows, "");
    root_.note("recipe");
    space_.recipe_ =
        root_.has("recipe") ? read_recipe(root_.object("recipe"), types_) : default_recipe(types_);
  }

  // The sub-layer types that may occur decide which names knobs and fixed values may carry. What is
  // wrong with the list itself is reported where it is read.
  void find_types() {
    const Json& document = root_.value();
    Json listed = Json::array();
    for (const char* pointer : {"/knobs/type/choices", "/fixed/type"})
      if (const Json::json_pointer at(pointer); document.contains(at)) listed = document[at];
    if (!listed.is_array()) listed = Json::array({listed});
    for (const Json& name : listed)
      if (name.is_string() && types_.find(name.get<std::string>()) != nullptr)
        space_.type_names_.push_back(name.get<std::string>());
    if (space_.type_names_.size() > kMostTypes)
      root_.problem_at("knobs", "too many sub-layer types", fmt::format("1..{}", kMostTypes),
                       std::to_string(space_.type_names_.size()));

    settable_.emplace("d_model", d_model_field());
    settable_.emplace("type", Field{.name = "type",
                                    .kind = Field::Kind::Choice,
                                    .choices = types_.names(),
                                    .fallback = {},
                                    .help = ""});
    const auto& names = space_.type_names_.empty() ? types_.names() : space_.type_names_;
    for (const std::string& name : names)
      for (const Field& field : types_.get(name).fields) {
        const auto [known, added] = settable_.emplace(field.name, field);
        if (!added) narrow(known->second, field);
      }
  }

  // A value set for several types must be right for each of them.
  static void narrow(Field& field, const Field& other) {
    MOEBIUS_CHECK(field.kind == other.kind, "[space] field '{}' has two kinds", field.name);
    field.low = std::max(field.low, other.low);
    field.high = std::min(field.high, other.high);
    std::erase_if(field.choices, [&](const std::string& choice) {
      return std::find(other.choices.begin(), other.choices.end(), choice) == other.choices.end();
    });
  }

  // The field that a knob or fixed value of this name sets; nullptr, reported, when there is none.
  const Field* settable(const Reader& group, const std::string& name, const char* what) {
    const auto found = settable_.find(name);
    if (found != settable_.end()) return &found->second;
    std::vector<std::string> names;
    for (const auto& [known, unused] : settable_) names.push_back(known);
    group.problem_at(name, unknown_name(what, name, names), join(names, ", "));
    return nullptr;
  }

  void read_knobs() {
    Reader knobs = root_.object("knobs");
    for (const std::string& name : knobs.keys())
      if (const Field* field = settable(knobs, name, "unknown knob"))
        add_knob(knobs.object(name), *field);
  }

  void add_knob(Reader reader, const Field& field) {
    Knob knob{.name = field.name, .choices = {}};
    knob.per_sublayer = reader.choice("per", {"block", "sublayer"}) == "sublayer";
    if (knob.per_sublayer && knob.name == "d_model")
      reader.problem_at("per", "the width is one for all sub-layers", "block", "sublayer");
    const std::vector<Reader> choices = reader.array("choices");
    if (reader.is_empty_array("choices")) reader.problem_at("choices", "choice list is empty");
    if (choices.size() > kMostChoices) {
      reader.problem_at("choices", "too many choices", fmt::format("1..{}", kMostChoices),
                        std::to_string(choices.size()));
    } else {
      for (const Reader& at : choices) add_choice(knob, at, field, reader.pointer());
    }
    reader.finish();
    knob.ordinal = rising(knob.choices);

    const std::int64_t positions = knob.per_sublayer ? space_.sublayers_ : 1;
    for (std::int64_t i = 0; i < positions; ++i)
      space_.slots_.push_back({space_.knobs_.size(), static_cast<std::size_t>(i)});
    space_.knobs_.push_back(std::move(knob));
  }

  static void add_choice(Knob& knob, const Reader& at, const Field& field,
                         const std::string& pointer) {
    Value value = read_value(at, field);
    const auto same = std::find(knob.choices.begin(), knob.choices.end(), value);
    if (same != knob.choices.end())
      at.problem(fmt::format("duplicate of {}/choices/{}", pointer, same - knob.choices.begin()));
    knob.choices.push_back(std::move(value));
  }

  static bool rising(const std::vector<Value>& choices) {
    const bool words = std::any_of(choices.begin(), choices.end(), [](const Value& value) {
      return std::holds_alternative<std::string>(value);
    });
    return !words && std::is_sorted(choices.begin(), choices.end());
  }

  void read_fixed() {
    root_.note("fixed");
    if (!root_.has("fixed")) return;
    Reader fixed = root_.object("fixed");
    for (const std::string& name : fixed.keys()) {
      const Field* field = settable(fixed, name, "unknown field");
      if (field == nullptr) continue;
      if (is_knob(name)) fixed.problem_at(name, "is also a knob", "one of the two");
      space_.fixed_[name] = read_value(fixed.at(name), *field);
    }
  }

  bool is_knob(const std::string& name) const {
    return std::any_of(space_.knobs_.begin(), space_.knobs_.end(),
                       [&](const Knob& knob) { return knob.name == name; });
  }

  void require(const std::string& name, const std::string& owner) {
    if (is_knob(name) || space_.fixed_.contains(name)) return;
    root_.problem_at("knobs", fmt::format("nothing sets {} of {}", name, owner),
                     fmt::format("/knobs/{0} or /fixed/{0}", name));
  }

  void check_all_set() {
    if (!root_.has("knobs")) return;
    require("type", "the sub-layers");
    require("d_model", "the block");
    for (const std::string& name : space_.type_names_)
      for (const Field& field : types_.get(name).fields)
        if (field.fallback.empty()) require(field.name, name);
  }

  static Metric read_metric(Reader& reader) {
    const std::string name =
        reader.choice("metric", {metric_text(Metric::StepTime), metric_text(Metric::ActiveFlops),
                                 metric_text(Metric::Parameters)});
    for (const Metric metric : {Metric::StepTime, Metric::Parameters})
      if (name == metric_text(metric)) return metric;
    return Metric::ActiveFlops;
  }

  void read_constraints() {
    root_.note("constraints");
    if (!root_.has("constraints")) return;
    for (Reader reader : root_.array("constraints")) {
      Constraint rule;
      constexpr double kLeast = 1e-3, kMost = 1e3;
      rule.metric = read_metric(reader);
      if (rule.metric == Metric::StepTime) {  // other devices and scales need profiles
        rule.profile = reader.choice("profile", {"cpu-local"});
        rule.scale = reader.choice("scale", {"proxy"});
      } else {
        if (reader.has("min_over_baseline"))
          rule.min_over_baseline = reader.number("min_over_baseline", kLeast, kMost);
        else
          reader.note("min_over_baseline");
      }
      if (reader.has("max_over_baseline") || !rule.min_over_baseline)  // one of them at least
        rule.max_over_baseline = reader.number("max_over_baseline", kLeast, kMost);
      else
        reader.note("max_over_baseline");
      if (rule.max_over_baseline < rule.min_over_baseline && rule.max_over_baseline)
        reader.problem(fmt::format("min_over_baseline ({:g}) > max_over_baseline ({:g})",
                                   *rule.min_over_baseline, *rule.max_over_baseline));
      reader.finish();
      space_.constraints_.push_back(rule);
    }
  }

  void read_baselines() {
    root_.note("baseline");
    if (root_.has("baseline")) {
      if (root_.value()["baseline"].is_array())
        for (const Reader& at : root_.array("baseline")) add_baseline(at);
      else
        add_baseline(root_.at("baseline"));
    }
    if (space_.baselines_.empty() && !space_.constraints_.empty())
      root_.problem("missing key \"baseline\": /constraints compare with it");
  }

  void add_baseline(const Reader& at) {
    const std::string name = at.as_text();
    if (!at.value().is_string()) return;
    auto& baselines = space_.baselines_;
    if (std::find(baselines.begin(), baselines.end(), name) != baselines.end())
      at.problem("duplicate baseline", "", describe(at.value()));
    baselines.push_back(name);

    const std::vector<std::string> blocks = baseline_blocks(), fixed = fixed_blocks();
    if (std::find(blocks.begin(), blocks.end(), name) != blocks.end()) {
      if (space_.scale_.empty() && !root_.has("scale"))
        at.problem("a block name needs the key /scale");
    } else if (!split_baseline(name) &&
               std::find(fixed.begin(), fixed.end(), name) == fixed.end() && !is_file_name(name)) {
      at.problem(unknown_name("unknown block", name, blocks),
                 join(blocks, ", ") + ", or a .json file", describe(at.value()));
    }
  }

  // Groups that do not divide, for instance, can make a whole space illegal under its recipe.
  void check_any_legal() const {
    constexpr int kSamples = 1000;
    Rng rng = Rng(0).split("any legal");
    std::string first;
    for (int i = 0; i < kSamples; ++i) {
      const std::string reason =
          why_illegal(space_.resolve(space_.sample(rng)), types_, space_.recipe_);
      if (reason.empty()) return;
      if (first.empty()) first = reason;
    }
    bad_input(printable(problems_.file()), fmt::format("no legal block among {} samples", kSamples),
              "", first);
  }

  const LayerTypes& types_;
  Problems problems_;
  Reader root_;
  Space space_;
  std::map<std::string, Field> settable_;  // by name, right for every type that declares it
};

Space Space::read(const Json& document, const std::string& file, const LayerTypes& types) {
  return SpaceReader(document, file, types).read();
}

}  // namespace moebius
