#pragma once
#include <cstdint>
#include <variant>

namespace moebius {

// What a sub-layer does to T tokens, forward. Parameters, FLOPs and bytes are folds over lists of
// these (space/cost.h), never separate formulas. Memory is planned by a dry run of the model
// (model/learner_memory.h) and step time is measured (evaluator/training/step_time.h).
// Bytes are doubles: those of the largest legal blocks do not fit into 63 bits.

// `batch` products of together `rows` rows with parameters: [rows/batch, k] x [k, n], so batch * k
// * n parameters.
struct Matmul {
  std::int64_t rows = 0;
  std::int64_t n = 0;
  std::int64_t k = 0;
  std::int64_t batch = 1;
  bool operator==(const Matmul&) const = default;
  double flops() const {
    return 2 * static_cast<double>(rows) * (static_cast<double>(n) * static_cast<double>(k));
  }
};

// Causal attention within `batch` sequences of `seq` tokens: in each of `heads` heads of width
// `head_dim`, position s meets s + 1 keys.
struct Attention {
  std::int64_t batch = 0;
  std::int64_t seq = 0;
  std::int64_t heads = 0;
  std::int64_t head_dim = 0;
  bool operator==(const Attention&) const = default;
  // Of one of its two products: the scores q k^T, or the values.
  double product_flops() const {
    const std::int64_t pairs = batch * heads * (seq * (seq + 1) / 2);
    return 2 * static_cast<double>(pairs) * static_cast<double>(head_dim);
  }
  double flops() const { return 2 * product_flops(); }
};

// A memory-bound pass; `parameters` are those it owns (norm gains, bias tables, convolution taps).
struct Pass {
  double bytes = 0;
  std::int64_t parameters = 0;
  bool operator==(const Pass&) const = default;
};

// `rows` rows of `width` f32 numbers, read from rows of another matrix in the order of a list.
struct Gather {
  std::int64_t rows = 0;
  std::int64_t width = 0;
  bool operator==(const Gather&) const = default;
  double bytes() const { return 2 * 4 * static_cast<double>(rows) * static_cast<double>(width); }
};

// Tokens sent to experts on other devices and back; free on one device.
struct Exchange {
  double bytes = 0;
  bool operator==(const Exchange&) const = default;
};

// The optimizer's pass over trained parameters, once a step: weights are read and written,
// gradients read twice (for their norm, and for the update) and written once. The optimizer's own
// state comes on top.
struct WeightUpdate {
  std::int64_t parameters = 0;
  bool operator==(const WeightUpdate&) const = default;
  double bytes() const { return 5 * 4 * static_cast<double>(parameters); }
};

using Operation = std::variant<Matmul, Attention, Pass, Gather, Exchange, WeightUpdate>;

}  // namespace moebius
