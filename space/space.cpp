#include "space/space.h"

#include <algorithm>
#include <bit>
#include <cmath>

#include "space/base/check.h"
#include "space/base/text.h"

namespace moebius {
namespace {

// Index of `value` among the choices, -1 when it is none of them.
std::int32_t index_of(const Knob& knob, const Value& value) {
  const auto found = std::find(knob.choices.begin(), knob.choices.end(), value);
  return found == knob.choices.end() ? -1 : static_cast<std::int32_t>(found - knob.choices.begin());
}

// What `name` is in a spec at a position; nullptr when the sub-layer has no such field.
const Value* spec_value(const Spec& spec, const std::string& name, std::size_t position,
                        Value& buffer) {
  const SubLayer& sublayer = spec.sublayers[position];
  if (name == "d_model") return &(buffer = spec.d_model);
  if (name == "type") return &(buffer = sublayer.type);
  const auto found = sublayer.fields.find(name);
  return found == sublayer.fields.end() ? nullptr : &found->second;
}

// The sequences of types, counted by the set of types that occur (bit t = type t), each weighted by
// the choices of its own positions: `weight[t]` for every position of type t.
std::vector<double> sequences_by_set(const std::vector<double>& weight, std::int64_t positions,
                                     bool free) {
  std::vector<double> count(std::size_t{1} << weight.size(), 0);
  if (!free) {  // one type for all positions
    for (std::size_t t = 0; t < weight.size(); ++t)
      count[std::size_t{1} << t] = std::pow(weight[t], static_cast<double>(positions));
    return count;
  }
  count[0] = 1;
  for (std::int64_t i = 0; i < positions; ++i) {
    std::vector<double> next(count.size(), 0);
    for (std::size_t set = 0; set < count.size(); ++set)
      for (std::size_t t = 0; count[set] > 0 && t < weight.size(); ++t)
        next[set | std::size_t{1} << t] += count[set] * weight[t];
    count = std::move(next);
  }
  return count;
}

}  // namespace

std::string Space::hash() const {
  Json document = document_;
  document.erase("recipe");
  return json_hash(document);
}

std::size_t Space::slot(std::size_t knob, std::size_t position) const {
  std::size_t first = 0;
  while (slots_[first].knob != knob) ++first;
  return knobs_[knob].per_sublayer ? first + position : first;
}

const Value* Space::value(const Point& point, const std::string& name, std::size_t position) const {
  for (std::size_t k = 0; k < knobs_.size(); ++k)
    if (knobs_[k].name == name)
      return &knobs_[k].choices.at(static_cast<std::size_t>(point[slot(k, position)]));
  const auto found = fixed_.find(name);
  return found == fixed_.end() ? nullptr : &found->second;
}

SpaceSize Space::size() const {
  SpaceSize result{.points = 1, .distinct = 0};
  for (const Slot& slot : slots_)
    result.points *= static_cast<double>(knobs_[slot.knob].choices.size());

  std::vector<double> weight(type_names_.size(), 1);
  bool free_types = false;
  for (const Knob& knob : knobs_) {
    if (knob.name == "type") free_types = knob.per_sublayer;
    if (!knob.per_sublayer || knob.name == "type") continue;
    for (std::size_t t = 0; t < weight.size(); ++t)
      if (find_field(types_->get(type_names_[t]), knob.name) != nullptr)
        weight[t] *= static_cast<double>(knob.choices.size());
  }
  const std::vector<double> sequences = sequences_by_set(weight, sublayers_, free_types);
  for (std::size_t set = 1; set < sequences.size(); ++set) {
    double specs = sequences[set];
    for (const Knob& knob : knobs_) {
      if (specs == 0 || knob.per_sublayer || knob.name == "type") continue;
      bool matters = knob.name == "d_model";  // a knob of absent types does nothing
      for (std::size_t t = 0; t < weight.size(); ++t)
        matters |=
            (set >> t & 1) != 0 && find_field(types_->get(type_names_[t]), knob.name) != nullptr;
      if (matters) specs *= static_cast<double>(knob.choices.size());
    }
    result.distinct += specs;
  }
  return result;
}

Spec Space::resolve(const Point& point) const {
  MOEBIUS_CHECK(point.size() == slots_.size(), "[space] a point of {} slots, the space has {}",
                point.size(), slots_.size());
  Spec spec;
  spec.d_model = std::get<std::int64_t>(*value(point, "d_model", 0));
  spec.stacks = stacks_;
  for (std::size_t i = 0; i < static_cast<std::size_t>(sublayers_); ++i) {
    SubLayer& sublayer = spec.sublayers.emplace_back();
    sublayer.type = std::get<std::string>(*value(point, "type", i));
    for (const Field& field : types_->get(sublayer.type).fields) {
      const Value* set = value(point, field.name, i);
      sublayer.fields[field.name] = normal_value(field, set ? *set : field.fallback.front());
    }
  }
  return spec;
}

std::optional<Point> Space::locate(const Spec& spec) const {
  if (spec.sublayers.size() != static_cast<std::size_t>(sublayers_)) return {};
  Point result(slots_.size(), 0);
  for (std::size_t s = 0; s < slots_.size(); ++s) {
    const Knob& knob = knobs_[slots_[s].knob];
    Value buffer;
    const Value* wanted = nullptr;  // stays so for a knob of absent types: any choice will do
    if (knob.per_sublayer)
      wanted = spec_value(spec, knob.name, slots_[s].position, buffer);
    else
      for (std::size_t i = 0; wanted == nullptr && i < spec.sublayers.size(); ++i)
        wanted = spec_value(spec, knob.name, i, buffer);
    if (wanted != nullptr) result[s] = index_of(knob, *wanted);
    if (result[s] < 0) return {};
  }
  if (resolve(result) != spec) return {};
  return result;
}

Point Space::sample(Rng& rng) const {
  Point point;
  for (const Slot& slot : slots_)
    point.push_back(static_cast<std::int32_t>(rng.below(knobs_[slot.knob].choices.size())));
  return point;
}

}  // namespace moebius
