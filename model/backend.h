#pragma once
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "model/backends/attention.h"
#include "model/backends/elementwise.h"
#include "model/backends/gradients.h"
#include "model/backends/loss.h"
#include "model/backends/memory.h"
#include "model/backends/products.h"
#include "model/backends/routing.h"
#include "model/backends/update.h"
#include "space/operation.h"

namespace moebius {

// The whole numeric surface, in families of kernels. Letters as in DESIGN 2: T = B*S token rows, D
// width, F hidden, H heads, K head width, E experts, P routed (token, expert) pairs. Rows of a
// batch are sequences one after the other: row = b * S + s.
//
// Contracts of all families: outputs never alias inputs unless said; `=` overwrites, `+=`
// accumulates; gradients of weights go where the GradientSink says; shapes are those of the views
// and never depend on data: ragged lists have a bound and a true count in a view.

// What one can know of a back-end without making one.
struct BackendAttributes {
  bool computes = true;     // else it only measures: its numbers mean nothing
  bool definition = false;  // naive loops that say what kernels mean; others are compared with them
  bool deterministic = true;       // the same bits for any number of threads
  bool f64 = false, bf16 = false;  // precisions beside f32
  std::string device = "host";     // whose memory its views lie in
};

class ProductLog;
class OnReference;

// What a back-end is made of; one object may be several families. All but memory may be missing.
struct Families {
  std::shared_ptr<Memory> memory;
  std::shared_ptr<ElementwiseKernels> elementwise;
  std::shared_ptr<ProductKernels> products;
  std::shared_ptr<AttentionKernels> attention;
  std::shared_ptr<RoutingKernels> routing;
  std::shared_ptr<LossKernels> loss;
  std::shared_ptr<UpdateKernels> update;
  // Of master weights, gradients, the residual stream and routing: f32 or f64.
  Dtype dtype = Dtype::F32;
  // Of what is multiplied with weights, and of all buffers inside a sub-layer: dtype, or bf16,
  // rounded to the nearest, ties to even.
  Dtype operand = Dtype::F32;
  bool products_update = false;                // products heed Contribution::update
  std::shared_ptr<const ProductLog> log = {};  // of the products of a step, where one is kept
};

// One object that is every family.
template <class All>
Families families_of(const std::shared_ptr<All>& all) {
  return {all, all, all, all, all, all, all};
}

// Handle of a back-end, which belongs to one trial. Families that it lacks run on `reference`, on
// the host.
class Backend {
  // Before the references into them.
  const std::shared_ptr<OnReference> fallback_;  // nullptr where nothing is missing
  const Families families_;                      // all of them

 public:
  explicit Backend(const Families& families);

  Memory& memory;
  ElementwiseKernels& elementwise;
  ProductKernels& products;
  AttentionKernels& attention;
  RoutingKernels& routing;
  LossKernels& loss;
  UpdateKernels& update;

  Dtype dtype() const { return families_.dtype; }
  Dtype operand() const { return families_.operand; }
  // Whether products update weights in the backward pass where the sink asks for it.
  bool products_update() const { return families_.products_update; }
  // Memory of the host that families which run on `reference` take beside views.
  std::int64_t fallback_bytes(const Params& params) const;
  // Before any kernel that takes a Weight.
  void bind(const Params& params, GradientSink& gradients);
  // The products of the current step, Matmul or Attention; the first one after weights_changed()
  // starts a new list. Empty where the back-end keeps none.
  std::vector<Operation> logged_products() const;
};

// Names of the families that a back-end lacks, in the order of Families.
std::vector<std::string> missing_families(const Families& families);

struct BackendOptions {
  std::string precision = "auto";  // "fp32" | "bf16" | "f64" | "auto": the fastest here
  int threads = 1;  // of this trial; partitions are fixed, so bits do not depend on it
};
struct BackendPlugin {
  std::string help;
  BackendAttributes attributes;
  std::function<Families(const BackendOptions&)> families;
  // Bytes the back-end itself takes for a model whose micro-batch runs `products` (forward and
  // backward): packed weights, row tiles, scratch. Empty = nothing worth counting.
  std::function<std::int64_t(const Params&, const std::vector<Operation>& products,
                             const BackendOptions&)>
      workspace_bytes = {};

  std::unique_ptr<Backend> make(const BackendOptions& options) const {
    return std::make_unique<Backend>(families(options));
  }
};

}  // namespace moebius
