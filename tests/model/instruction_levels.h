#pragma once
#include <gtest/gtest.h>

#include "model/backends/cpu/processor.h"

namespace moebius::testing_support {

// Runs body() at every instruction level up to the one in use.
template <class Body>
void each_level(const Body& body) {
  struct Restore {
    cpu::Level most = cpu::level();
    ~Restore() { cpu::limit_level(most); }
  };
  const Restore restore;
  for (int i = 0; i <= static_cast<int>(restore.most); ++i) {
    cpu::limit_level(static_cast<cpu::Level>(i));
    ASSERT_EQ(cpu::level(), static_cast<cpu::Level>(i));
    SCOPED_TRACE(cpu::name_of(cpu::level()));
    body();
  }
}

}  // namespace moebius::testing_support
