#include "space/scale.h"

#include <algorithm>
#include <cmath>

#include "space/base/check.h"
#include "space/base/text.h"
#include "space/cost.h"
#include "space/resources.h"

namespace moebius {
namespace {

constexpr const char* kTable = "space/presets/scales.json";

Scale read_scale(Reader reader) {
  constexpr std::int64_t kMost = 1 << 24;
  Scale row;
  row.name = reader.text("name");
  row.d_model = reader.integer("d_model", 1, kMost);
  row.head_dim = reader.integer("head_dim", 1, kMost);
  row.sublayers = reader.integer("sublayers", 1, kDeepest);
  row.experts = reader.integer("experts", 1, kMost);
  row.seq = reader.integer("seq", 1, kMost);
  row.batch = reader.integer("batch", 1, kMost);
  row.vocab = reader.integer("vocab", 1, kMost);
  reader.finish();
  return row;
}

std::vector<Scale> read_table() {
  const Json document = parse_json(resource(kTable), kTable);
  Problems problems(kTable);
  Reader reader(document, "", problems);
  reader.format("moebius.scales/1");
  std::vector<Scale> table;
  for (const Reader& row : reader.array("scales")) table.push_back(read_scale(row));
  reader.finish();
  problems.raise();
  return table;
}

// Multiplies an integer by `factor`, to whole steps, at least one; a real exactly; a word not.
void multiply(Value& value, double factor, std::int64_t step) {
  if (auto* whole = std::get_if<std::int64_t>(&value))
    *whole = rounded_width(static_cast<double>(*whole) * factor, step);
  else if (auto* real = std::get_if<double>(&value))
    *real *= factor;
}

// visit(field, value) for every field of every sub-layer.
template <class Visit>
void each_field(Spec& spec, const LayerTypes& types, const Visit& visit) {
  for (SubLayer& sublayer : spec.sublayers)
    for (const Field& field : types.get(sublayer.type).fields)
      visit(field, sublayer.fields.at(field.name));
}

struct HeadFactors {
  double heads = 1, width = 1;
};

HeadFactors head_factors(const Scale& from, const Scale& to, HeadRule rule) {
  const double ratio = static_cast<double>(to.d_model) / static_cast<double>(from.d_model);
  const double rows = static_cast<double>(to.head_dim) / static_cast<double>(from.head_dim);
  switch (rule) {
    case HeadRule::Row:
      return to.head_dim == from.head_dim ? HeadFactors{} : HeadFactors{ratio / rows, rows};
    case HeadRule::ScaleHeads:
      return {ratio, 1};
    case HeadRule::ScaleHeadDim:
      return {1, ratio};
    case HeadRule::Keep:
      break;
  }
  return {};
}

Spec with_hidden_widths(Spec spec, const LayerTypes& types, double factor, std::int64_t step) {
  each_field(spec, types, [&](const Field& field, Value& value) {
    if (field.iso_flops) multiply(value, factor, step);
  });
  return spec;
}

}  // namespace

std::int64_t rounded_width(double width, std::int64_t step) {
  const std::int64_t steps = std::llround(width / static_cast<double>(step));
  return step * std::max<std::int64_t>(1, steps);
}

std::int64_t stacks_at(const Scale& scale, std::size_t block_length, const std::string& block) {
  const auto length = static_cast<std::int64_t>(block_length);
  if (scale.sublayers % length != 0)
    bad_input(block,
              fmt::format("a block of {} sub-layers does not fill the {} of scale {}", length,
                          scale.sublayers, scale.name),
              fmt::format("divisors of {}", scale.sublayers), std::to_string(length));
  return scale.sublayers / length;
}

std::vector<Scale> scales() {
  static const std::vector<Scale> table = read_table();
  return table;
}

Scale scale(const std::string& name) {
  std::string wanted;  // papers write 1B/64E
  for (const char c : name)
    wanted += c == '/' ? '-' : c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c;
  std::vector<std::string> names;
  for (const Scale& row : scales()) {
    if (row.name == wanted) return row;
    names.push_back(row.name);
  }
  bad_input("scale", unknown_name("unknown scale", wanted, names), join(names, ", "),
            printable(name));
}

Spec iso_flops(const Spec& spec, double target, const LayerTypes& types, const TokenShape& shape) {
  const auto error = [&](const Spec& candidate) {
    return active_flops(candidate, types, shape) / target - 1;
  };
  const auto widened = [&](double factor, std::int64_t step) {
    return with_hidden_widths(spec, types, factor, step);
  };
  // Small blocks have too few multiples of 16 to come within 2 %: then finer ones.
  constexpr double kTolerance = 0.02, kMostFactor = 1024;
  for (const std::int64_t step : {16, 8, 4, 2, 1}) {
    double low = 0, high = 1;  // bisection: FLOPs rise with the factor
    while (high < kMostFactor && error(widened(high, step)) < 0) high *= 2;
    for (int i = 0; i < 60; ++i) {
      const double middle = (low + high) / 2;
      (error(widened(middle, step)) < 0 ? low : high) = middle;
    }
    const Spec below = widened(low, step), above = widened(high, step);
    const Spec& best = std::abs(error(below)) < std::abs(error(above)) ? below : above;
    if (std::abs(error(best)) <= kTolerance) return best;
  }
  bad_input("iso-flops", "no hidden width gives the wanted active FLOPs within 2 %",
            fmt::format("{:.4g} and more per token", active_flops(widened(0, 1), types, shape)),
            fmt::format("{:.4g}", target));
}

Spec scale_block(const Spec& spec, const Scale& from, const Scale& to, const LayerTypes& types,
                 HeadRule rule) {
  constexpr std::int64_t kStep = 16;
  const double ratio = static_cast<double>(to.d_model) / static_cast<double>(from.d_model);
  const auto [heads, head_width] = head_factors(from, to, rule);
  Spec result = spec;
  result.d_model = rounded_width(ratio * static_cast<double>(spec.d_model), kStep);
  result.stacks = stacks_at(to, spec.sublayers.size(), "block");
  each_field(result, types, [&](const Field& field, Value& value) {
    switch (field.scaling) {
      case Scaling::None:
        break;
      case Scaling::Width:
        multiply(value, ratio, kStep);
        break;
      case Scaling::Heads:
        multiply(value, heads, 1);
        break;
      case Scaling::HeadWidth:
        multiply(value, head_width, 1);
        break;
      case Scaling::Experts:
        value = to.experts;
        break;
    }
  });
  return result;
}

}  // namespace moebius
