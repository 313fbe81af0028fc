#include "model/backends/cpu/cpu.h"
#include "model/backends/cpu/workspace.h"

namespace moebius {

BackendPlugin backends_cpu() {
  return {.help = "vectorised, by run-time dispatch: f32, or bf16 products with f32 sums",
          .attributes = {.bf16 = true},
          .families =
              [](const BackendOptions& options) {
                const Dtype operand = cpu::operand_of(options);
                Families families =
                    families_of(std::make_shared<cpu::Cpu>(operand, options.threads));
                families.operand = operand;
                families.products_update = true;
                return families;
              },
          .workspace_bytes = cpu::workspace_bytes};
}

}  // namespace moebius
