#pragma once
#include <cstdint>
#include <variant>

namespace moebius {

// What a sub-layer does to T tokens, forward. Parameters, FLOPs and bytes are folds over lists of
// these (space/cost.h), never separate formulas. Memory is planned by a dry run of the model
// (model/learner_memory.h) and step time is measured (evaluator/training/step_time.h).

// `batch` products of together `rows` rows: [rows/batch, k] x [k, n]. With `weight` the right
// factors are parameters (batch * k * n of them); without, both are activations (attention: rows =
// B * H * S(S+1)/2 causal pairs, n = 1).
struct Matmul {
  std::int64_t rows = 0;
  std::int64_t n = 0;
  std::int64_t k = 0;
  std::int64_t batch = 1;
  bool weight = true;
};

// A memory-bound pass; `parameters` are those it owns (norm gains, bias tables, convolution taps).
// Bytes are doubles: those of the largest legal blocks do not fit into 63 bits.
struct Pass {
  double bytes = 0;
  std::int64_t parameters = 0;
};

// Tokens sent to experts on other devices and back; free on one device.
struct Exchange {
  double bytes = 0;
};

using Operation = std::variant<Matmul, Pass, Exchange>;

}  // namespace moebius
