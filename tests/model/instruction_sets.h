#pragma once
#include <fmt/format.h>
#include <gtest/gtest.h>
#include <hwy/highway.h>

#include "model/backends/cpu/gemm.h"

namespace moebius::testing_support {

// Runs body() with the kernels of each instruction set that this machine has, and on each of its
// units for bf16.
template <class Body>
void each_instruction_set(const Body& body) {
  const auto supported = hwy::SupportedTargets();
  for (const std::int64_t target : hwy::SupportedAndGeneratedTargets()) {
    hwy::SetSupportedTargetsForTest(target);
    for (const cpu::Bf16Unit unit :
         {cpu::Bf16Unit::Emulated, cpu::Bf16Unit::Avx512, cpu::Bf16Unit::Amx}) {
      cpu::limit_bf16_unit(unit);
      if (cpu::bf16_unit() != unit) continue;
      SCOPED_TRACE(
          fmt::format("{}, bf16 unit {}", hwy::TargetName(target), static_cast<int>(unit)));
      body();
    }
    cpu::limit_bf16_unit(cpu::Bf16Unit::Amx);
  }
  hwy::SetSupportedTargetsForTest(0);
  ASSERT_EQ(hwy::SupportedTargets(), supported);
  hwy::GetChosenTarget().Update(supported);
}

}  // namespace moebius::testing_support
