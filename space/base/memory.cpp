#include "space/base/memory.h"

#include <unistd.h>

#include <algorithm>
#include <fstream>
#include <string>

namespace moebius {
namespace {

// The number in a one-number file, or `fallback` ("max", no such file).
std::int64_t file_number(const char* path, std::int64_t fallback) {
  std::ifstream file(path);
  std::int64_t value = 0;
  return file >> value ? value : fallback;
}

constexpr std::int64_t kNone = INT64_MAX;

}  // namespace

std::int64_t physical_memory() {
  const std::int64_t machine = std::int64_t{sysconf(_SC_PHYS_PAGES)} * sysconf(_SC_PAGESIZE);
  return std::min({machine, file_number("/sys/fs/cgroup/memory.max", kNone),
                   file_number("/sys/fs/cgroup/memory/memory.limit_in_bytes", kNone)});
}

std::int64_t free_memory() {
  std::int64_t available = physical_memory();
  std::ifstream info("/proc/meminfo");
  std::string name, unit;
  for (std::int64_t value = 0; info >> name >> value; std::getline(info, unit))
    if (name == "MemAvailable:") available = std::min(available, value * 1024);
  const std::int64_t limit = file_number("/sys/fs/cgroup/memory.max", kNone);
  if (limit != kNone)
    available =
        std::min(available, limit - file_number("/sys/fs/cgroup/memory.current", std::int64_t{0}));
  return std::max<std::int64_t>(available, 0);
}

}  // namespace moebius
