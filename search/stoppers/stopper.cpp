#include "search/stoppers/stopper.h"

namespace moebius {

#define PLUGIN(name) StopperPlugin stoppers_##name();
#include "search/stoppers.def"
#undef PLUGIN

const Registry<StopperPlugin>& stoppers() {
  static const Registry<StopperPlugin> registry = [] {
    Registry<StopperPlugin> result("stopper");
#define PLUGIN(name) result.add(#name, stoppers_##name());
#include "search/stoppers.def"
#undef PLUGIN
    return result;
  }();
  return registry;
}

}  // namespace moebius
