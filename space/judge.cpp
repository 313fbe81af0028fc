#include "space/judge.h"

#include <algorithm>
#include <utility>

#include "space/base/check.h"
#include "space/base/units.h"

namespace moebius {
namespace {

double measure(const Cost& cost, Metric metric) {
  return metric == Metric::Parameters ? static_cast<double>(cost.parameters) : cost.active_flops;
}

// Whether a block has the value that a knob would set. A knob of a type that is absent does
// nothing.
bool has_value(const Spec& spec, const std::string& name, const Value& value) {
  if (name == "d_model") return Value(spec.d_model) == value;
  return std::any_of(spec.sublayers.begin(), spec.sublayers.end(), [&](const SubLayer& layer) {
    if (name == "type") return Value(layer.type) == value;
    const auto field = layer.fields.find(name);
    return field != layer.fields.end() && field->second == value;
  });
}

}  // namespace

Judge::Judge(const Space& space, const LayerTypes& types, Recipe recipe, std::int64_t vocab,
             const std::optional<Cost>& baseline, std::optional<Recipe> rules)
    : space_(space),
      types_(types),
      recipe_(std::move(recipe)),
      rules_(rules ? *std::move(rules) : recipe_),
      vocab_(vocab),
      baseline_(baseline) {}

Cost Judge::cost(const Spec& spec) const { return moebius::cost(spec, types_, rules_, vocab_); }

std::string Judge::why_illegal(const Spec& spec) const {
  return moebius::why_illegal(spec, types_, recipe_);
}

std::optional<double> Judge::max_step_ratio() const {
  for (const Constraint& rule : space_.constraints())
    if (rule.metric == Metric::StepTime) return rule.max_over_baseline;
  return {};
}

std::string Judge::why_out_of_bounds(const Constraint& rule, const Cost& candidate) const {
  MOEBIUS_CHECK(baseline_.has_value(), "[judge] a constraint on {} without a baseline",
                metric_text(rule.metric));
  const double value = measure(candidate, rule.metric),
               reference = measure(*baseline_, rule.metric);
  const auto reason = [&](const char* relation, double factor) {
    return fmt::format("{} {} {} {} ({:g} x the baseline's {})", metric_text(rule.metric),
                       count_text(value), relation, count_text(factor * reference), factor,
                       count_text(reference));
  };
  if (rule.min_over_baseline && value < *rule.min_over_baseline * reference)
    return reason("below", *rule.min_over_baseline);
  if (rule.max_over_baseline && value > *rule.max_over_baseline * reference)
    return reason("above", *rule.max_over_baseline);
  return "";
}

std::string Judge::why_refused(const Spec& spec) const {
  if (std::string why = why_illegal(spec); !why.empty()) return why;
  if (std::string why = moebius::why_illegal(spec, types_, rules_); !why.empty()) return why;

  // A block whose tokens do not see one another is fast, but never more than a bigram model.
  const auto& names = space_.type_names();
  const bool may_mix = std::any_of(names.begin(), names.end(), [&](const std::string& name) {
    return types_.get(name).mixes_tokens;
  });
  if (may_mix && !mixes_tokens(spec, types_)) return "no sub-layer mixes tokens";

  try {
    const Cost candidate = cost(spec);
    for (const Constraint& rule : space_.constraints()) {
      if (rule.metric == Metric::StepTime) continue;
      if (std::string why = why_out_of_bounds(rule, candidate); !why.empty()) return why;
    }
  } catch (const Error& error) {  // one block of a space may be beyond what can be counted
    if (error.code() != Exit::BadInput) throw;
    return error.what();
  }
  return "";
}

std::vector<Judge::Never> Judge::never_occurring(int draws) const {
  std::vector<Never> result;
  for (std::size_t k = 0; k < space_.knobs().size(); ++k) {
    const Knob& knob = space_.knobs()[k];
    std::vector<std::size_t> slots;
    for (std::size_t i = 0; i < space_.slots().size(); ++i)
      if (space_.slots()[i].knob == k) slots.push_back(i);
    for (std::size_t c = 0; c < knob.choices.size(); ++c) {
      Rng rng = Rng(0).split("never " + knob.name, c);
      std::string why = "no block has a sub-layer with it";
      bool occurs = false;
      for (int i = 0; i < draws && !occurs; ++i) {
        Point point = space_.sample(rng);
        point[slots[rng.below(slots.size())]] = static_cast<std::int32_t>(c);
        const Spec spec = space_.resolve(point);
        if (!has_value(spec, knob.name, knob.choices[c])) continue;
        why = why_refused(spec);
        occurs = why.empty();
      }
      if (!occurs)
        result.push_back(
            {fmt::format("/knobs/{}/choices/{}", knob.name, c), value_text(knob.choices[c]), why});
    }
  }
  return result;
}

}  // namespace moebius
