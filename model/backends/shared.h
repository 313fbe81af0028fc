#pragma once
#include <cstdint>
#include <vector>

#include "model/backend.h"

namespace moebius {

// For back-ends whose families share their state: all of them in one object (families_of).
class AllFamilies : public Memory,
                    public ElementwiseKernels,
                    public ProductKernels,
                    public AttentionKernels,
                    public RoutingKernels,
                    public LossKernels,
                    public UpdateKernels {};

// What every back-end must do alike, to the bit.

// Relative-position bucket of a distance n = s_q - s_k >= 0 (T5, unidirectional: 32 buckets up to
// distance 128): n below 16, else 16 + floor(16 log(n / 16) / log(8)), at most 31.
constexpr std::int64_t kRelativeBuckets = 32;
std::int64_t relative_bucket(std::int64_t n);

// Elements [begin, end) of a slot's initial values, in f64 before the cast. Element i depends on
// (key, i) alone: Normal takes elements 2p and 2p + 1 from one Box-Muller pair of philox(key, p),
// so ranges that begin at an even element waste nothing.
template <class T>
void initial_values(const ParamSlot& slot, std::uint64_t key, std::int64_t begin, std::int64_t end,
                    T* out);

// The products that kernels did, in the words of space/operation.h, for comparison with the static
// cost: forward, dx and dW of a matmul each count as [rows, k] x [k, n] of the stored matrix (for
// the tied head that is [T, V] x [V, D]); what a back-end recomputes counts once.
class ProductLog {
 public:
  void dense(std::int64_t rows, const ParamSlot& w);
  void experts(std::int64_t pairs, const ParamSlot& w);
  // Two products of q k^T size forward (scores, values), four backward (dprobs, dv, dq, dk), which
  // is `times` 2.
  void attention(const AttentionShape& shape, int times);
  void next_step() { stale_ = true; }  // the next entry starts a new list
  const std::vector<Operation>& list() const { return list_; }

 private:
  void push(const Operation& product);

  std::vector<Operation> list_;
  bool stale_ = false;
};

}  // namespace moebius
