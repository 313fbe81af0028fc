#pragma once
#include <cstdint>

#include "model/backends/cpu/matrix.h"

namespace moebius::cpu {

// y = x w where the bits of a row of y depend on that row of x and on w alone, not on how many rows
// there are or which of them it is. dnnl_sgemm does not promise that (it has other kernels for few
// rows), and routing needs it: which rows an expert gets depends on other tokens, also later ones,
// and no logit may change by a bit with a token behind it.
// `scratch`: kRowwiseScratch floats, for a strip of w.
void rowwise_product(const Floats& x, const Floats& w, const Floats& y, float* scratch);

constexpr std::int64_t kRowwiseDepth = 256;  // rows of w that are summed before they are added to y
constexpr std::int64_t kRowwiseColumns = 256;  // of a copied strip of w
constexpr std::int64_t kRowwiseScratch = kRowwiseDepth * kRowwiseColumns;

}  // namespace moebius::cpu
