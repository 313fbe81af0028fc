#include <algorithm>
#include <set>

#include "space/base/check.h"
#include "space/base/text.h"
#include "space/resources.h"
#include "space/scale.h"
#include "space/space.h"

namespace moebius {
namespace {

constexpr const char* kScales = "space/presets/scales.json";

std::string path_of(const std::string& preset) { return "space/presets/" + preset + ".json"; }

void compare(const Json* left, const Json* right, const std::string& pointer,
             std::vector<std::string>& lines) {
  const auto show = [](const Json* value) { return value ? canonical(*value) : "(absent)"; };
  const auto member = [](const Json& object, const std::string& key) {
    const auto found = object.find(key);
    return found == object.end() ? nullptr : &*found;
  };
  if (left && right && left->is_object() && right->is_object()) {
    std::set<std::string> keys;
    for (const Json* side : {left, right})
      for (const auto& [key, unused] : side->items()) keys.insert(key);
    for (const std::string& key : keys)
      compare(member(*left, key), member(*right, key), pointer + "/" + escape_pointer(key), lines);
  } else if (left && right && left->is_array() && right->is_array()) {
    for (std::size_t i = 0; i < std::max(left->size(), right->size()); ++i)
      compare(i < left->size() ? &(*left)[i] : nullptr, i < right->size() ? &(*right)[i] : nullptr,
              fmt::format("{}/{}", pointer, i), lines);
  } else if (!left || !right || canonical(*left) != canonical(*right)) {
    lines.push_back(fmt::format("{}: {} -> {}", pointer, show(left), show(right)));
  }
}

}  // namespace

std::vector<std::string> space_presets() {
  std::vector<std::string> result;
  for (const std::string& path : resources("space/presets")) {
    if (path == kScales) continue;
    const std::size_t start = path.rfind('/') + 1;
    result.push_back(path.substr(start, path.rfind('.') - start));
  }
  std::sort(result.begin(), result.end());
  return result;
}

Space load_space(const std::string& name_or_file, const LayerTypes& types) {
  const std::vector<std::string> presets = space_presets();
  if (std::find(presets.begin(), presets.end(), name_or_file) != presets.end()) {
    const std::string path = path_of(name_or_file);
    return Space::read(parse_json(resource(path), path), path, types);
  }
  if (!is_file_name(name_or_file))
    bad_input("space", unknown_name("unknown space", name_or_file, presets),
              join(presets, ", ") + ", or a .json file", printable(name_or_file));
  return Space::read(load_json(name_or_file), name_or_file, types);
}

Spec space_baseline(const Space& space, const std::string& name, const LayerTypes& types) {
  const std::vector<std::string> blocks = baseline_blocks();
  if (std::find(blocks.begin(), blocks.end(), name) != blocks.end())
    return baseline(name, scale(space.scale()), types);
  if (!is_file_name(name)) return baseline(name, types);
  const Json document = load_json(name);
  if (space.scale().empty()) return read_spec(document, name, types);
  return read_block(document, name, scale(space.scale()), types);
}

std::int64_t default_vocab(const Space& space) {
  constexpr std::int64_t kBytes = 256;
  return space.scale().empty() ? kBytes : scale(space.scale()).vocab;
}

std::vector<std::string> diff(const Json& left, const Json& right) {
  std::vector<std::string> lines;
  compare(&left, &right, "", lines);
  return lines;
}

}  // namespace moebius
