#include "model/backends/cpu/processor.h"

#include <hwy/targets.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "model/backends/cpu/amx.h"

namespace moebius::cpu {
namespace {

// Linux gives tiles only to processes that ask for them.
bool tiles_are_permitted() {
  constexpr long kRequestPermission = 0x1023, kTileData = 18;  // of arch_prctl (Linux 5.16)
  return syscall(SYS_arch_prctl, kRequestPermission, kTileData) == 0;
}

// Highway asks for exactly the features that its targets are compiled with.
Level detected_level() {
  const auto targets = hwy::SupportedTargets();
  if ((targets & HWY_SSE4) == 0) return Level::Baseline;
  if ((targets & HWY_AVX2) == 0) return Level::Sse4;
  if ((targets & HWY_AVX3) == 0) return Level::Avx2;
  if (__builtin_cpu_supports("avx512bf16") == 0) return Level::Avx512;
  if (__builtin_cpu_supports("amx-tile") == 0 || __builtin_cpu_supports("amx-bf16") == 0 ||
      !tiles_are_permitted())
    return Level::Avx512Bf16;
  return Level::Amx;
}

}  // namespace

const char* const kBaselineName = "x86-64";

Level offered_level() {
  static const Level offered = detected_level();
  return offered;
}

// Intel's AVX512-BF16 takes twice as long for an instruction as for an f32 one (measured).
bool bf16_is_faster(Level level) {
  return level == Level::Amx || (level == Level::Avx512Bf16 && __builtin_cpu_is("amd") != 0);
}

const amx::Engine* amx_engine() { return level() == Level::Amx ? &amx::kEngine : nullptr; }

}  // namespace moebius::cpu
