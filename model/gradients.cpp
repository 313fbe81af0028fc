#include "model/gradients.h"

namespace moebius {

Contribution GradientCount::next(Weight w, Producer by) {
  Contributions& counted = counts_.at(static_cast<std::size_t>(w.slot));
  ++counted.count;
  counted.products_only = counted.products_only && by == Producer::Product;
  return {};
}

StepGradients::StepGradients(const Params& params, std::vector<int> expected) : params_(params) {
  MOEBIUS_CHECK(expected.size() == params.slots().size(), "[gradients] {} counts for {} slots",
                expected.size(), params.slots().size());
  for (const int count : expected) slots_.push_back({.expected = count});
}

void StepGradients::begin() {
  for (Slot& slot : slots_) {
    slot.got = 0;
    slot.at_once = false;
  }
}

void StepGradients::update_at_once(Weight w, const Update& update, View norm2) {
  Slot& slot = at(w);
  MOEBIUS_CHECK(slot.expected == 1 && !params_.has_gradient(w),
                "[gradients] '{}' cannot be updated at once: it expects {} contributions",
                params_.slot(w).name, slot.expected);
  slot.at_once = true;
  slot.update = update;
  norm2_ = norm2;
}

Contribution StepGradients::next(Weight w, Producer by) {
  Slot& slot = at(w);
  ++slot.got;
  MOEBIUS_CHECK(slot.got <= slot.expected,
                "[gradients] '{}' gets contribution {} of a step, but the plan counted {}",
                params_.slot(w).name, slot.got, slot.expected);
  MOEBIUS_CHECK(!slot.at_once || by == Producer::Product,
                "[gradients] '{}' is updated at once, but not by a product", params_.slot(w).name);
  return {.first = slot.got == 1,
          .last = slot.got == slot.expected,
          .update = slot.at_once ? &slot.update : nullptr,
          .norm2 = norm2_};
}

void StepGradients::end() const {
  for (std::size_t i = 0; i < slots_.size(); ++i)
    MOEBIUS_CHECK(slots_[i].got == slots_[i].expected,
                  "[gradients] '{}' got {} contributions in a step, but the plan counted {}",
                  params_.slots()[i].name, slots_[i].got, slots_[i].expected);
}

}  // namespace moebius
