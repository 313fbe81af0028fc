#include "model/backends/cpu/cpu.h"
#include "model/backends/cpu/library.h"

namespace moebius {

BackendPlugin backends_cpu() {
  return {.help = "vectorised, by run-time dispatch: f32, or bf16 products with f32 sums",
          .make = [](const BackendOptions& options) -> std::unique_ptr<Backend> {
            return std::make_unique<cpu::Cpu>(cpu::operand_of(options), options.threads);
          },
          .library_bytes = cpu::library_bytes};
}

}  // namespace moebius
