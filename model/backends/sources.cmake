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
