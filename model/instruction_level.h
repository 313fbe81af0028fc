#pragma once
#include <string>
#include <vector>

// Which of a processor's instructions the kernels of the back-end `cpu` use. Levels, lowest first:
// "x86-64", "sse4", "avx2", "avx512", "avx512-bf16", "amx"; on arm64 "arm64" alone.
namespace moebius {

// The highest level that this machine offers, unless the environment variable MOEBIUS_LEVEL names a
// lower one. Throws Error (bad input) where it names a level that this machine does not offer.
// The bits of results depend on it.
std::string instruction_level();
std::vector<std::string> offered_instruction_levels();
// Whether MOEBIUS_LEVEL names one.
bool instruction_level_is_requested();

}  // namespace moebius
