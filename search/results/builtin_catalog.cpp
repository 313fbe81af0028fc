#include "search/results/builtin_catalog.h"

namespace moebius {

const Catalog& builtin_catalog() {
  static const Catalog catalog;
  return catalog;
}

}  // namespace moebius
