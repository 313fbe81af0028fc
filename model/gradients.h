#pragma once
#include <vector>

#include "model/backends/gradients.h"

namespace moebius {

// How often a micro-batch contributes to the gradient of a weight.
struct Contributions {
  int count = 0;
  bool products_only = true;
};

// Counts the contributions of a dry run, by slot.
class GradientCount final : public GradientSink {
 public:
  explicit GradientCount(const Params& params) : counts_(params.slots().size()) {}
  Contribution next(Weight w, Producer by) override;
  const std::vector<Contributions>& counts() const { return counts_; }

 private:
  std::vector<Contributions> counts_;
};

// The learner's gradients of a step. Each weight gets the contributions that the dry run counted,
// from every micro-batch: one more is an Error(Bug) where it happens, one less at the end of the
// step, and both name the weight. So a weight is never updated by a part of its gradient.
class StepGradients final : public GradientSink {
 public:
  // `expected`: contributions of a step, by slot. `params` must outlive this.
  StepGradients(const Params& params, std::vector<int> expected);
  void begin();
  // The next contribution to w updates it in the backward pass, and its squared norm is added to
  // norm2 [1,1] f64. Only of a weight of whose gradient no memory is kept, and which expects one
  // contribution. What `update` views must stay until the end of the step.
  void update_at_once(Weight w, const Update& update, View norm2);
  Contribution next(Weight w, Producer by) override;
  void end() const;
  bool expects(Weight w) const {  // any contribution; without one the gradient is zero
    return slots_.at(static_cast<std::size_t>(w.slot)).expected > 0;
  }

 private:
  struct Slot {
    int expected = 0, got = 0;
    bool at_once = false;
    Update update = {};
  };
  Slot& at(Weight w) { return slots_.at(static_cast<std::size_t>(w.slot)); }

  const Params& params_;
  std::vector<Slot> slots_;
  View norm2_;
};

}  // namespace moebius
