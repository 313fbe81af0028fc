#pragma once
#include <cstdint>

#include "model/backends/cpu/gemm.h"

// Products of bf16 on AMX, the matrix unit of newer Intel processors: registers are tiles of 16
// rows of 64 bytes, and one instruction multiplies two of them into a third. They are not in
// gemm.cpp because factors lie otherwise here.
namespace moebius::cpu::amx {

// The functions of Level::Amx. They are reached through this table alone: amx_engine() in
// processor.h.
struct Engine {
  // As those of gemm.h with operand BF16, under the same contract: bits of a row depend on that row
  // alone.
  void (*gemm)(const Factor& a, const Factor& b, const View& c, const GemmOptions& options,
               Scratch& scratch);
  std::int64_t (*gemm_scratch)(std::int64_t m, std::int64_t n, std::int64_t k, Dtype c);
  void (*pack)(const Factor& b, float* memory);
  std::int64_t (*packed_floats)(std::int64_t k, std::int64_t n);
  void (*packed_gemm)(const Factor& a, const Packed& b, const View& c, const GemmOptions& options,
                      Scratch& scratch);
  std::int64_t (*packed_gemm_scratch)(std::int64_t m, std::int64_t n, std::int64_t k);
  // From hold() to let_go(), products of this thread leave the unit configured. Calls nest.
  void (*hold)();
  void (*let_go)();
  // Multiplies tiles in registers, `rounds` times; -> FLOPs done. For the roofline.
  double (*multiply_registers)(std::int64_t rounds);
};

extern const Engine kEngine;  // amx_gemm.cpp

}  // namespace moebius::cpu::amx
