target_sources(moebius_model PRIVATE
  backends/shared.cpp
  backends/reference/attention.cpp
  backends/reference/dispatch.cpp
  backends/reference/elementwise.cpp
  backends/reference/loss.cpp
  backends/reference/matmul.cpp
  backends/reference/memory.cpp
  backends/reference/norm.cpp
  backends/reference/optimizer.cpp
  backends/reference/routing.cpp)

target_sources(moebius_model PRIVATE
  backends/cpu/amx.cpp
  backends/cpu/amx_blocks.cpp
  backends/cpu/amx_gemm.cpp
  backends/cpu/amx_pack.cpp
  backends/cpu/attention.cpp
  backends/cpu/attention_block.cpp
  backends/cpu/dispatch.cpp
  backends/cpu/elementwise.cpp
  backends/cpu/gemm.cpp
  backends/cpu/initialise.cpp
  backends/cpu/loss.cpp
  backends/cpu/matmul.cpp
  backends/cpu/memory.cpp
  backends/cpu/norm.cpp
  backends/cpu/optimizer.cpp
  backends/cpu/parallel.cpp
  backends/cpu/position.cpp
  backends/cpu/router_loss.cpp
  backends/cpu/roofline.cpp
  backends/cpu/routing.cpp
  backends/cpu/scratch.cpp
  backends/cpu/select.cpp)
# Instruction sets that kernels are compiled for: SSE4, AVX2, AVX-512 and a plain fallback. Those left out gain nothing
# here, or have vectors without a size (SVE).
set_property(SOURCE
  backends/cpu/attention_block.cpp backends/cpu/dispatch.cpp backends/cpu/elementwise.cpp backends/cpu/gemm.cpp
  backends/cpu/initialise.cpp  backends/cpu/loss.cpp backends/cpu/memory.cpp backends/cpu/norm.cpp backends/cpu/optimizer.cpp
  backends/cpu/position.cpp backends/cpu/roofline.cpp backends/cpu/select.cpp
  APPEND PROPERTY COMPILE_DEFINITIONS
  "HWY_DISABLED_TARGETS=(HWY_SSSE3|HWY_AVX3_DL|HWY_SVE|HWY_SVE2|HWY_SVE_256|HWY_SVE2_128)")
