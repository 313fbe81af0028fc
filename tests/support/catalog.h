#pragma once
#include "model/catalog.h"

namespace moebius {

// The plug-ins of the .def lists, for tests that may not link search/.
inline const Catalog& builtin_catalog() {
  static const Catalog catalog;
  return catalog;
}

}  // namespace moebius
