#include "model/catalog.h"

namespace moebius {

#define PLUGIN(name) BackendPlugin backends_##name();
#include "model/backends.def"
#undef PLUGIN
#define PLUGIN(name) LayerPlugin layers_##name();
#include "model/layers.def"
#undef PLUGIN
#define PLUGIN(name) GatingPlugin gatings_##name();
#include "model/gatings.def"
#undef PLUGIN
#define PLUGIN(name) OptimizerPlugin optimizers_##name();
#include "model/optimizers.def"
#undef PLUGIN

namespace {

Registry<GatingPlugin> all_gatings() {
  Registry<GatingPlugin> gatings("gating");
#define PLUGIN(name) gatings.add(#name, gatings_##name());
#include "model/gatings.def"
#undef PLUGIN
  return gatings;
}

Catalog all_plugins() {
  Catalog catalog;
  catalog.gatings = builtin_gatings();
#define PLUGIN(name) catalog.backends.add(#name, backends_##name());
#include "model/backends.def"
#undef PLUGIN
#define PLUGIN(name) catalog.layers.add(#name, layers_##name());
#include "model/layers.def"
#undef PLUGIN
#define PLUGIN(name) catalog.optimizers.add(#name, optimizers_##name());
#include "model/optimizers.def"
#undef PLUGIN
  for (const auto& [name, layer] : catalog.layers) catalog.types.add(name, layer.type);
  return catalog;
}

}  // namespace

const Registry<GatingPlugin>& builtin_gatings() {
  static const Registry<GatingPlugin> gatings = all_gatings();
  return gatings;
}

const Catalog& builtin_catalog() {
  static const Catalog catalog = all_plugins();
  return catalog;
}

}  // namespace moebius
