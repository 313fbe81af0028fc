#pragma once
#include <string>

#include "model/backend.h"

namespace moebius {

// What `doctor` says of a back-end, on one line: where it computes, in which precisions, and, with
// WARNING, which of its families run on the reference back-end.
std::string description(const BackendPlugin& plugin);

}  // namespace moebius
