#include "model/backends/cpu/cpu.h"
#include "model/backends/cpu/library.h"

namespace moebius {

BackendPlugin backends_cpu() {
  return {.help = "oneDNN products and SIMD passes: f32",
          .make = [](const BackendOptions& options) -> std::unique_ptr<Backend> {
            if (options.precision != "fp32" && options.precision != "auto")
              bad_input("precision", "unknown precision of back-end cpu", "auto, fp32",
                        options.precision);
            return std::make_unique<cpu::Cpu>(options.threads);
          },
          .library_bytes = cpu::library_bytes};
}

}  // namespace moebius
