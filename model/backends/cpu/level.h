#pragma once
#include <algorithm>
#include <array>
#include <cstddef>

// Instruction levels. Kernels are compiled once for each (foreach_level.h), and one is chosen when
// the process first needs it. An instruction of an extension stands only in functions of a level
// that has the extension: no function asks for a feature and then uses it.
namespace moebius::cpu {

// Each one has the instructions of those before it. Baseline is what every processor of the
// architecture runs. On arm64, which has no other level, it is NEON. On x86-64 it is scalar code
// with Highway 1.0 (Debian 12) and SSE2 with newer ones (Debian 13), whose bits differ.
enum class Level { Baseline, Sse4, Avx2, Avx512, Avx512Bf16, Amx };

const char* name_of(Level level);  // "x86-64" or "arm64", "sse4", "avx2", "avx512", ..

// The level in use: the highest that this processor and its system offer, or a lower one that the
// environment variable MOEBIUS_LEVEL names. Throws Error (bad input) where it names none of them.
Level level();
// Use nothing above `most` from now on: for tests. Only while no kernel runs.
void limit_level(Level most);

// A kernel as each level compiles it, null where a level has no code of its own: the one below
// serves it. AMX has an engine for products (amx.h) and otherwise the kernels of the level below.
template <class Kernel>
struct PerLevel {
  static constexpr auto kLevels = static_cast<std::size_t>(Level::Amx);
  std::array<Kernel, kLevels> of;

  Kernel get() const {
    std::size_t i = std::min(static_cast<std::size_t>(level()), kLevels - 1);
    while (of[i] == nullptr) --i;  // the baseline has every kernel
    return of[i];
  }
};

}  // namespace moebius::cpu
