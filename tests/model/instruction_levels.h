#pragma once
#include <gtest/gtest.h>

#include "model/backends/cpu/processor.h"

namespace moebius::testing_support {

// Runs body() at every instruction level up to the one in use.
template <class Body>
void each_level(const Body& body) {
  const cpu::Level most = cpu::level();
  for (int i = 0; i <= static_cast<int>(most); ++i) {
    cpu::limit_level(static_cast<cpu::Level>(i));
    SCOPED_TRACE(cpu::name_of(cpu::level()));
    body();
  }
  cpu::limit_level(most);
}

}  // namespace moebius::testing_support
