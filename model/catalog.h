#pragma once
#include "model/backend.h"
#include "model/gating.h"
#include "model/layer.h"
#include "model/optimizer.h"
#include "space/base/registry.h"

namespace moebius {

// Every plug-in that models are built from. main makes one and hands it down; nothing registers
// itself.
struct Catalog {
  Registry<BackendPlugin> backends{"back-end"};
  Registry<LayerPlugin> layers{"sub-layer type"};
  Registry<GatingPlugin> gatings{"gating"};
  Registry<OptimizerPlugin> optimizers{"optimizer"};
  LayerTypes types{"sub-layer type"};  // what space/ needs of `layers`
};

// The plug-ins of the .def lists, one immutable instance.
const Catalog& builtin_catalog();
// Its gatings alone, complete before the layers are: the moe layer offers them as choices.
const Registry<GatingPlugin>& builtin_gatings();

}  // namespace moebius
