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

Catalog::Catalog(const std::function<void(Catalog&)>& more) {
#define PLUGIN(name) backends.add(#name, backends_##name());
#include "model/backends.def"
#undef PLUGIN
#define PLUGIN(name) gatings.add(#name, gatings_##name());
#include "model/gatings.def"
#undef PLUGIN
#define PLUGIN(name) layers.add(#name, layers_##name());
#include "model/layers.def"
#undef PLUGIN
#define PLUGIN(name) optimizers.add(#name, optimizers_##name());
#include "model/optimizers.def"
#undef PLUGIN
  if (more) more(*this);
  for (const auto& [name, layer] : layers) types.add(name, layer.type(*this));
}

}  // namespace moebius
