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

bool declares(const LayerType& type, const std::string& name) {
  return std::any_of(type.fields.begin(), type.fields.end(),
                     [&](const Field& field) { return field.name == name; });
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
    width_ = published("d_model",
                       rounded_width(ratio * static_cast<double>(scale_.d_model), kWidthStep));
    head_dim_ = published("head_dim", scale_.head_dim);
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
    for (const std::string& row : rows.keys()) {
      if (std::none_of(table.begin(), table.end(), [&](const Scale& s) { return s.name == row; }))
        rows.problem_at(row, "unknown scale");
      Reader sizes = rows.object(row);
      for (const std::string& field : sizes.keys()) {
        if (!is_width(field) && field != "heads" && field != "head_dim")
          sizes.problem_at(field, "unknown size", "d_*, heads, head_dim");
        const std::int64_t size = sizes.integer(field, 1, 1 << 24);
        if (row == scale_.name) published_[field] = size;
      }
    }
  }

  std::int64_t published(const std::string& field, std::int64_t otherwise) const {
    const auto found = published_.find(field);
    return found == published_.end() ? otherwise : found->second;
  }

  Json resolve_sublayer(Reader& reader) const {
    Json result = reader.value();
    const LayerType* type = types_.find(reader.choice("type", types_.names()));
    if (type == nullptr) return result;
    const double width = static_cast<double>(width_);
    for (const std::string& field : reader.keys()) {
      if (field == "heads") {
        const double ratio = reader.number(field, 1.0 / kMostRatio, kMostRatio);
        const auto heads = std::llround(ratio * width / static_cast<double>(head_dim_));
        result[field] = published(field, std::max<std::int64_t>(1, heads));
      } else if (is_width(field)) {
        const double ratio = reader.number(field, 1.0 / kMostRatio, kMostRatio);
        result[field] = published(field, rounded_width(ratio * width, kWidthStep));
      }
    }
    for (const char* field : {"head_dim", "experts"})
      if (reader.has(field)) reader.problem_at(field, "is set by the scale");
    if (declares(*type, "head_dim")) result["head_dim"] = head_dim_;
    if (declares(*type, "experts")) result["experts"] = scale_.experts;
    return result;
  }

  const Json& document_;
  const std::string& file_;
  const Scale& scale_;
  const LayerTypes& types_;
  std::map<std::string, std::int64_t> published_;
  std::int64_t width_ = 0, head_dim_ = 0;
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

bool split_baseline(const std::string& name, std::string& block, std::string& scale_name) {
  const std::vector<std::string> known = baseline_blocks();
  for (const Scale& row : scales()) {
    const std::string suffix = "-" + row.name;
    if (!name.ends_with(suffix)) continue;
    const std::string stem = name.substr(0, name.size() - suffix.size());
    if (std::find(known.begin(), known.end(), stem) == known.end()) continue;
    block = stem;
    scale_name = row.name;
    return true;
  }
  return false;
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
  std::string block, scale_name;
  if (split_baseline(name, block, scale_name)) return baseline(block, scale(scale_name), types);
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
