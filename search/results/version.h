#pragma once
#include <istream>
#include <string>

#include "space/base/json.h"

namespace moebius {

// What this binary is: for `version`, `doctor`, exports and the provenance of studies.
std::string version();       // "0.1.0"
std::string git_revision();  // of the source at build time, "+" when it had changes
// What /proc/cpuinfo, or a text like it, calls the first processor: its model, or where there is no
// such line, as on arm64, the numbers of who designed it and of the design; else "unknown".
std::string cpu_name();
std::string cpu_name(std::istream& cpuinfo);
std::int64_t schema_version();
Json version_json();

}  // namespace moebius
