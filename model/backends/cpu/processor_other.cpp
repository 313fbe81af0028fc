#include "model/backends/cpu/processor.h"

namespace moebius::cpu {

#if defined(__aarch64__)
const char* const kBaselineName = "arm64";
#else
const char* const kBaselineName = "baseline";
#endif

Level offered_level() { return Level::Baseline; }

bool bf16_is_faster(Level /*level*/) { return false; }

const amx::Engine* amx_engine() { return nullptr; }

}  // namespace moebius::cpu
