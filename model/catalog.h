#pragma once
#include <functional>

#include "model/backend.h"
#include "model/gating.h"
#include "model/layer.h"
#include "model/optimizer.h"
#include "space/base/registry.h"

namespace moebius {

// Every plug-in that models are built from. A program makes one and hands it down; nothing
// registers itself, and no layer reaches another catalog than the one it was made with.
struct Catalog {
  // The plug-ins of the .def lists. `more` may add others, before the sub-layer types are made.
  explicit Catalog(const std::function<void(Catalog&)>& more = {});
  Catalog(const Catalog&) = delete;  // types and layers refer to it
  Catalog& operator=(const Catalog&) = delete;

  Registry<BackendPlugin> backends{"back-end"};
  Registry<LayerPlugin> layers{"sub-layer type"};
  Registry<GatingPlugin> gatings{"gating"};
  Registry<OptimizerPlugin> optimizers{"optimizer"};
  LayerTypes types{"sub-layer type"};  // what space/ needs of `layers`
};

}  // namespace moebius
