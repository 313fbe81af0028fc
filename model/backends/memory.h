#pragma once
#include <cstddef>
#include <cstdint>

#include "model/backends/gradients.h"

namespace moebius {

// Memory of a back-end and transport between it and the host. No other family reads or writes host
// memory, and nothing but this family may look into a view that is not the host's.
class Memory {
 public:
  virtual ~Memory() = default;
  // Zeros, aligned to 64 bytes, owned by the back-end; nullptr when the system refuses.
  virtual std::byte* allocate(std::int64_t bytes) = 0;
  // Between a view and dense rows of the view's type on the host.
  virtual void write(View to, const void* from) = 0;
  virtual void read(View from, void* to) = 0;
  virtual void fill(View y, double value) = 0;  // y = value
  // The initial values of a slot, by its Init; element i depends on (key, i) only.
  virtual void initialise(View value, const ParamSlot& slot, std::uint64_t key) = 0;

  // Called through Backend::bind, before any kernel that takes a Weight. Both must outlive the
  // back-end or the next call.
  virtual void bind(const Params& params, GradientSink& gradients) = 0;
  // After an optimizer step or a restore: copies of weights that a back-end keeps are stale.
  virtual void weights_changed() {}
};

}  // namespace moebius
