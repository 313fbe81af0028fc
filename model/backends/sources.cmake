target_sources(moebius_model PRIVATE
  backends/describe.cpp
  backends/on_reference.cpp
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
  backends/cpu/attention.cpp
  backends/cpu/attention_block.cpp
  backends/cpu/dispatch.cpp
  backends/cpu/elementwise.cpp
  backends/cpu/gemm.cpp
  backends/cpu/initialise.cpp
  backends/cpu/level.cpp
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
# What is written for one architecture.
if(MOEBIUS_X86_64)
  target_sources(moebius_model PRIVATE
    backends/cpu/amx_blocks.cpp
    backends/cpu/amx_gemm.cpp
    backends/cpu/amx_pack.cpp
    backends/cpu/amx_tiles.cpp
    backends/cpu/processor_x86.cpp)
else()
  target_sources(moebius_model PRIVATE backends/cpu/processor_other.cpp)
endif()
