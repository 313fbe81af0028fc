#include "model/backends/reference/reference.h"

namespace moebius {
namespace {

Dtype dtype_of(const BackendOptions& options) {
  if (options.precision == "f64") return Dtype::F64;
  if (options.precision == "fp32" || options.precision == "auto") return Dtype::F32;
  bad_input("precision", "unknown precision", "auto, fp32, f64", options.precision);
}

}  // namespace

BackendPlugin backends_reference() {
  return {.help = "naive loops, the executable definition: f64 or f32",
          .attributes = {.definition = true, .f64 = true},
          .families = [](const BackendOptions& options) {
            const auto log = std::make_shared<ProductLog>();
            const Dtype dtype = dtype_of(options);
            Families families = families_of(std::make_shared<reference::Reference>(dtype, log));
            families.log = log;
            families.dtype = families.operand = dtype;
            families.products_update = true;
            return families;
          }};
}

}  // namespace moebius
