#include <algorithm>
#include <cmath>

#include "space/base/check.h"
#include "space/base/text.h"
#include "space/resources.h"
#include "space/scale.h"

namespace moebius {
namespace {

constexpr double kMostRatio = 1024;
constexpr std::int64_t kWidthStep = 16;

std::string path_of(const std::string& block) { return "space/blocks/" + block + ".json"; }

Json document_of(const std::string& block) {
  return parse_json(resource(path_of(block)), path_of(block));
}

bool is_baseline(const Json& document) {
  return document.is_object() && document.value("format", Json()) == "moebius.baseline/1";
}

// Names of the compiled-in block files: those that a scale resolves, or those of one fixed size.
std::vector<std::string> blocks(bool scaled) {
  std::vector<std::string> result;
  for (const std::string& path : resources("space/blocks")) {
    const std::size_t start = path.rfind('/') + 1;
    const std::string name = path.substr(start, path.rfind('.') - start);
    if (is_baseline(document_of(name)) == scaled) result.push_back(name);
  }
  std::sort(result.begin(), result.end());  // "glam" before "glam-ec", unlike their paths
  return result;
}

// Whether a published size may replace what a scale makes of the field.
bool is_size(const Field& field) {
  return field.scaling == Scaling::Width || field.scaling == Scaling::Heads ||
         field.scaling == Scaling::HeadWidth;
}

// Turns a block of ratios into the JSON of a spec at one scale.
class Resolver {
 public:
  Resolver(const Json& document, const std::string& file, const Scale& scale,
           const LayerTypes& types)
      : document_(document), file_(file), scale_(scale), types_(types) {}

  Spec resolve() {
    Problems problems(file_);
    Reader reader(document_, "", problems);
    reader.format("moebius.baseline/1");
    reader.text("name");
    reader.text("source");
    read_published(reader);
    const double ratio = reader.number("d_model", 1.0 / kMostRatio, kMostRatio);
    const Field d_model = d_model_field();
    width_ = std::get<std::int64_t>(
        published(d_model, ratio * static_cast<double>(scale_.d_model), kWidthStep));
    Json sublayers = Json::array();
    for (Reader sublayer : reader.array("sublayers"))
      sublayers.push_back(resolve_sublayer(sublayer));
    if (sublayers.empty()) reader.problem_at("sublayers", "no sub-layers", "at least one");
    reader.finish();
    problems.raise();
    return read_spec({{"format", "moebius.block/1"},
                      {"d_model", width_},
                      {"stacks", stacks_at(scale_, sublayers.size(), file_)},
                      {"sublayers", sublayers}},
                     file_, types_);
  }

 private:
  // {"1b-64e": {"d_model": 2048, "heads": 16, ..}}: sizes that replace the ratios at that scale.
  void read_published(Reader& reader) {
    if (!reader.has("published")) return;
    Reader rows = reader.object("published");
    const std::vector<Scale> table = scales();
    std::map<std::string, Field> sizes_known = {{d_model_field().name, d_model_field()}};
    for (const auto& [name, type] : types_)
      for (const Field& field : type.fields)
        if (is_size(field)) sizes_known.emplace(field.name, field);
    std::vector<std::string> names;
    for (const auto& [name, unused] : sizes_known) names.push_back(name);
    for (const std::string& row : rows.keys()) {
      if (std::none_of(table.begin(), table.end(), [&](const Scale& s) { return s.name == row; }))
        rows.problem_at(row, "unknown scale");
      Reader sizes = rows.object(row);
      for (const std::string& field : sizes.keys()) {
        const auto known = sizes_known.find(field);
        if (known == sizes_known.end()) {
          sizes.problem_at(field, "unknown size", join(names, ", "));
          continue;
        }
        const Value size = read_value(sizes.at(field), known->second);
        if (row == scale_.name) published_[field] = size;
      }
    }
  }

  // The published size, else `size` in whole steps, or as it is in a field of reals.
  Value published(const Field& field, double size, std::int64_t step) const {
    if (const auto found = published_.find(field.name); found != published_.end())
      return found->second;
    if (field.kind == Field::Kind::Number) return size;
    return rounded_width(size, step);
  }

  Json resolve_sublayer(Reader& reader) const {
    Json result = reader.value();
    const LayerType* type = types_.find(reader.choice("type", types_.names()));
    if (type == nullptr) return result;
    const double width = static_cast<double>(width_);
    double head_width = static_cast<double>(scale_.head_dim);
    for (const Field& field : type->fields)
      if (field.scaling == Scaling::HeadWidth) {
        const Value value = published(field, head_width, 1);
        result[field.name] = to_json(value);
        head_width = number({{field.name, value}}, field.name);
      }
    for (const Field& field : type->fields) {
      const bool given = reader.has(field.name);
      if (field.scaling == Scaling::Experts) result[field.name] = scale_.experts;
      if (field.scaling == Scaling::Experts || field.scaling == Scaling::HeadWidth) {
        if (given) reader.problem_at(field.name, "is set by the scale");
      } else if (given && is_size(field)) {
        const double ratio = reader.number(field.name, 1.0 / kMostRatio, kMostRatio);
        const bool heads = field.scaling == Scaling::Heads;
        const Value size = heads ? published(field, ratio * width / head_width, 1)
                                 : published(field, ratio * width, kWidthStep);
        result[field.name] = to_json(size);
      }
    }
    return result;
  }

  const Json& document_;
  const std::string& file_;
  const Scale& scale_;
  const LayerTypes& types_;
  std::map<std::string, Value> published_;
  std::int64_t width_ = 0;
};

}  // namespace

std::vector<std::string> baseline_blocks() {
  static const std::vector<std::string> names = blocks(true);
  return names;
}

std::vector<std::string> fixed_blocks() {
  static const std::vector<std::string> names = blocks(false);
  return names;
}

std::optional<BaselineName> split_baseline(const std::string& name) {
  const std::vector<std::string> known = baseline_blocks();
  for (const Scale& row : scales()) {
    const std::string suffix = "-" + row.name;
    if (!name.ends_with(suffix)) continue;
    const std::string stem = name.substr(0, name.size() - suffix.size());
    if (std::find(known.begin(), known.end(), stem) != known.end()) return {{stem, row.name}};
  }
  return {};
}

Spec read_block(const Json& document, const std::string& file, const Scale& scale,
                const LayerTypes& types) {
  if (is_baseline(document)) return Resolver(document, file, scale, types).resolve();
  return read_spec(document, file, types);
}

Spec baseline(const std::string& block, const Scale& scale, const LayerTypes& types) {
  const std::vector<std::string> known = baseline_blocks();
  if (std::find(known.begin(), known.end(), block) == known.end())
    bad_input("baseline", unknown_name("unknown block", block, known), join(known, ", "),
              printable(block));
  return read_block(document_of(block), path_of(block), scale, types);
}

Spec baseline(const std::string& name, const LayerTypes& types) {
  if (const auto parts = split_baseline(name))
    return baseline(parts->block, scale(parts->scale), types);
  const std::vector<std::string> fixed = fixed_blocks();
  if (std::find(fixed.begin(), fixed.end(), name) != fixed.end())
    return read_spec(document_of(name), path_of(name), types);

  std::vector<std::string> every = fixed, rows;
  for (const Scale& row : scales()) {
    rows.push_back(row.name);
    for (const std::string& known : baseline_blocks()) every.push_back(known + "-" + row.name);
  }
  bad_input("baseline", unknown_name("unknown block", name, every),
            fmt::format("{} with -{}; {}", join(baseline_blocks(), ", "), join(rows, ", -"),
                        join(fixed, ", ")),
            printable(name));
}

}  // namespace moebius
