#pragma once
#include <string>

#include "space/base/json.h"

namespace moebius {

// What this binary is: for `version`, `doctor`, exports and the provenance of studies.
std::string version();       // "0.1.0"
std::string git_revision();  // of the source at build time, "+" when it had changes
std::string cpu_name();
std::int64_t schema_version();
Json version_json();

}  // namespace moebius
