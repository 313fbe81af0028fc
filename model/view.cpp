#include "model/view.h"

namespace moebius {

const char* dtype_text(Dtype dtype) {
  switch (dtype) {
    case Dtype::F64:
      return "f64";
    case Dtype::F32:
      return "f32";
    case Dtype::BF16:
      return "bf16";
    case Dtype::I32:
      return "i32";
  }
  return "?";
}

}  // namespace moebius
