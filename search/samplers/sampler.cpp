#include "search/samplers/sampler.h"

namespace moebius {

#define PLUGIN(name) SamplerPlugin samplers_##name();
#include "search/samplers.def"
#undef PLUGIN

const Registry<SamplerPlugin>& samplers() {
  static const Registry<SamplerPlugin> registry = [] {
    Registry<SamplerPlugin> result("sampler");
#define PLUGIN(name) result.add(#name, samplers_##name());
#include "search/samplers.def"
#undef PLUGIN
    return result;
  }();
  return registry;
}

}  // namespace moebius
