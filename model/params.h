#pragma once
#include <cstdint>
#include <string>
#include <unordered_set>
#include <vector>

#include "model/view.h"

namespace moebius {

// Handle of one parameter tensor.
struct Weight {
  int slot = -1;
  bool empty() const { return slot < 0; }
};

struct Init {
  enum class Kind { Constant, Normal, FirstRowOne } kind = Kind::Constant;
  double value = 0;  // Constant: the value; Normal: the standard deviation; FirstRowOne: unused
                     // (row 0 = 1, the rest 0)
  static Init constant(double value) { return {Kind::Constant, value}; }
  static Init normal(double stddev) { return {Kind::Normal, stddev}; }
  static Init first_row_one() { return {Kind::FirstRowOne, 0}; }
};

// What the optimizer must know of a tensor.
enum class Role {
  Hidden,     // matrix [fan-in, fan-out] of activations: Recipe::hidden_rate, weight decay
  Router,     // D x E: lr, weight decay
  Embedding,  // token table, positions: lr, weight decay
  Vector,     // gains, bias tables, taps: lr, no weight decay
  State,      // not trained, no gradient (routing thresholds); saved with the model
  Sum,        // not trained: of the micro-batches of a step, zero between steps; not saved
};
constexpr bool is_trained(Role role) { return role != Role::State && role != Role::Sum; }

// `batch` matrices [rows, cols], one after the other: experts are one slot [E, D, F].
struct ParamSlot {
  std::string name;  // "stack.0.sublayer.3.moe.up": the tensor's name in checkpoints
  std::int64_t batch = 1, rows = 0, cols = 0;
  Role role = Role::Hidden;
  Init init;
  std::int64_t value_offset = 0;      // elements into the flat value buffer
  std::int64_t gradient_offset = -1;  // elements into the flat gradient buffer; -1 = none kept
  std::int64_t size() const { return batch * rows * cols; }
};

// The flat parameter and gradient buffers with named slots. Layers hold handles; they own no
// memory.
class Params {
 public:
  Weight declare(ParamSlot slot);  // offsets are assigned here, 16-element aligned

  // No gradient of this weight is ever kept. Before attach().
  void drop_gradient(Weight weight);

  // Memory handed in by the learner: `values` and `gradients` hold value_size() and gradient_size()
  // elements of `dtype`.
  void attach(Dtype dtype, std::byte* values, std::byte* gradients);

  View value(Weight weight) const;     // [batch * rows, cols]
  View gradient(Weight weight) const;  // the same shape
  bool has_gradient(Weight weight) const { return slot(weight).gradient_offset >= 0; }
  const ParamSlot& slot(Weight weight) const {
    return slots_.at(static_cast<std::size_t>(weight.slot));
  }
  const std::vector<ParamSlot>& slots() const { return slots_; }

  std::int64_t value_size() const { return value_size_; }  // elements, padding included
  std::int64_t gradient_size() const { return gradient_size_; }
  std::int64_t trained() const;  // parameters, without padding

 private:
  std::vector<ParamSlot> slots_;
  std::unordered_set<std::string> names_;  // of the slots
  std::int64_t value_size_ = 0, gradient_size_ = 0;
  Dtype dtype_ = Dtype::F32;
  std::byte* values_ = nullptr;
  std::byte* gradients_ = nullptr;
};

}  // namespace moebius
