#pragma once
#include <cstdint>

namespace moebius {

// Bytes of memory this process may use at most: the machine's, or its cgroup's limit if lower.
std::int64_t physical_memory();
// Bytes that can be taken now without swapping (MemAvailable, or what the cgroup leaves).
std::int64_t free_memory();

}  // namespace moebius
