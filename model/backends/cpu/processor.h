#pragma once
#include "model/backends/cpu/level.h"

// What differs between architectures: processor_x86.cpp, or processor_other.cpp on the others.
namespace moebius::cpu {

namespace amx {
struct Engine;
}

extern const char* const kBaselineName;  // of Level::Baseline
// The highest level that this processor has and its system lets this process use. Where the
// processor has AMX, the first call asks Linux for its tiles.
Level offered_level();
// What multiplies bf16 at Level::Amx; null below it.
const amx::Engine* amx_engine();
// Whether this machine multiplies bf16 faster than f32 at `level`.
bool bf16_is_faster(Level level);

}  // namespace moebius::cpu
