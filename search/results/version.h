#pragma once
#include <istream>
#include <string>

#include "space/base/json.h"

namespace moebius {

// What this binary is: for `version`, `doctor`, exports and the provenance of studies.
std::string version();       // "0.1.0"
std::string git_revision();  // of the source at build time, "+" when it had changes
// The first processor's name in /proc/cpuinfo or a text like it: its model; on arm64, which has no
// such line, the numbers of implementer and part; else "unknown".
std::string cpu_name();
std::string cpu_name(std::istream& cpuinfo);
std::int64_t schema_version();
Json version_json();

}  // namespace moebius
