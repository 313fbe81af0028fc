#pragma once
#include "model/catalog.h"

namespace moebius {

// The one catalog of this program, of all plug-ins: the only global one. Commands take it here and
// hand it down.
const Catalog& builtin_catalog();

}  // namespace moebius
