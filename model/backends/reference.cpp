#include "model/backends/reference/reference.h"

namespace moebius {

BackendPlugin backends_reference() {
  return {.help = "naive loops, the executable definition: f64 or f32",
          .make = [](const BackendOptions& options) -> std::unique_ptr<Backend> {
            if (options.precision == "f64")
              return std::make_unique<reference::Reference>(Dtype::F64);
            if (options.precision == "fp32" || options.precision == "auto")
              return std::make_unique<reference::Reference>(Dtype::F32);
            bad_input("precision", "unknown precision", "auto, fp32, f64", options.precision);
          },
          .library_bytes = {}};
}

}  // namespace moebius
