#pragma once
#include "tests/support/catalog.h"

namespace moebius {

#define PLUGIN(name) OptimizerPlugin optimizers_##name();
#include "tests/plugins/optimizers.def"
#undef PLUGIN

namespace testing {

// The built-in plug-ins and those of tests/plugins, each of which is one file and one line.
inline const Catalog& test_catalog() {
  static const Catalog catalog([](Catalog& all) {
#define PLUGIN(name) all.optimizers.add(#name, optimizers_##name());
#include "tests/plugins/optimizers.def"
#undef PLUGIN
  });
  return catalog;
}

}  // namespace testing
}  // namespace moebius
