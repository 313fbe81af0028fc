#include "model/backend.h"

#include "model/backends/on_reference.h"
#include "model/backends/shared.h"

namespace moebius {
namespace {

// visit(name, family) for every family that may be missing.
template <class FamiliesT, class Visit>
void each_family(FamiliesT& families, const Visit& visit) {
  visit("elementwise", families.elementwise);
  visit("products", families.products);
  visit("attention", families.attention);
  visit("routing", families.routing);
  visit("loss", families.loss);
  visit("update", families.update);
}

Families completed(Families families, const std::shared_ptr<OnReference>& fallback) {
  // Products on the host cannot reach the update of another family, nor its state.
  if (families.products == nullptr || families.update == nullptr) families.products_update = false;
  each_family(families, [&](const char*, auto& family) {
    if (family == nullptr) family = fallback;
  });
  return families;
}

std::shared_ptr<OnReference> fallback_of(const Families& families) {
  MOEBIUS_CHECK(families.memory != nullptr, "[backend] has no memory");
  if (missing_families(families).empty()) return nullptr;
  return std::make_shared<OnReference>(*families.memory, families.dtype);
}

}  // namespace

std::vector<std::string> missing_families(const Families& families) {
  std::vector<std::string> names;
  each_family(families, [&](const char* name, const auto& family) {
    if (family == nullptr) names.emplace_back(name);
  });
  return names;
}

Backend::Backend(const Families& families)
    : fallback_(fallback_of(families)),
      families_(completed(families, fallback_)),
      memory(*families_.memory),
      elementwise(*families_.elementwise),
      products(*families_.products),
      attention(*families_.attention),
      routing(*families_.routing),
      loss(*families_.loss),
      update(*families_.update) {}

void Backend::bind(const Params& params, GradientSink& gradients) {
  memory.bind(params, gradients);
  if (fallback_ != nullptr) fallback_->bind(params, gradients);
}

std::int64_t Backend::fallback_bytes(const Params& params) const {
  return fallback_ == nullptr ? 0 : OnReference::bytes(params);
}

std::vector<Operation> Backend::logged_products() const {
  return families_.log == nullptr ? std::vector<Operation>{} : families_.log->list();
}

}  // namespace moebius
