// Top-2 routing of GShard and GLaM (2006.16668, 2112.06905): two experts per token, the two gates
// divided by their sum before capacity and left alone after a drop.

#include "model/gatings/token_choice.h"

namespace moebius {

GatingPlugin gatings_top2() {
  return token_choice("two experts per token, gates renormalised (GShard, GLaM)", 2, true);
}

}  // namespace moebius
