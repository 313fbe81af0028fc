#include "tests/support/fake_gatings.h"

namespace moebius {

// It sees the future and declares that it does not: the probe must find it.
GatingPlugin gatings_next_token() {
  return testing_support::host_gating(testing_support::by_next_id, Causality::Yes);
}

}  // namespace moebius
