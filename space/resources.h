#pragma once
#include <string>
#include <string_view>
#include <vector>

namespace moebius {

// Files compiled into the binary (CMake lists them): space/presets/*.json, space/blocks/*.json,
// search/results/dbs/*.sql. Paths are relative to the source tree.
std::string_view resource(std::string_view path);  // Error(Bug) when absent
std::vector<std::string> resources(
    std::string_view directory);  // sorted paths directly below `directory`

}  // namespace moebius
