#include "search/results/version.h"

#include <gtest/gtest.h>

#include <sstream>

namespace moebius {
namespace {

std::string name_in(const std::string& cpuinfo) {
  std::istringstream text(cpuinfo);
  return cpu_name(text);
}

TEST(Version, CpuNameIsTheModelOrOnArm64ItsNumbers) {
  EXPECT_EQ(name_in("processor\t: 0\nmodel\t\t: 17\nmodel name\t: Vendor CPU: 3\n"),
            "Vendor CPU: 3");
  EXPECT_EQ(name_in("processor\t: 0\nBogoMIPS\t: 243.75\nCPU implementer\t: 0x41\n"
                    "CPU architecture: 8\nCPU variant\t: 0x3\nCPU part\t: 0xd0c\n"),
            "implementer 0x41, part 0xd0c");
  EXPECT_EQ(name_in("processor\n\n"), "unknown");
}

}  // namespace
}  // namespace moebius
