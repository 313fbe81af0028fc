#pragma once
#include <functional>
#include <memory>
#include <string>

#include "model/arena.h"
#include "model/backend.h"
#include "model/params.h"
#include "space/layer_type.h"

namespace moebius {

enum class Mode {
  Train,   // training routing, context kept for backward, routing state follows
  Native,  // evaluation with the training routing: the native loss
  // Evaluation that may not see the future nor the other sequences of a batch: token choice without
  // a limit, Expert Choice by thresholds. The ranked loss.
  Causal,
};

// All a layer may touch during one micro-batch.
struct Step {
  Backend& backend;
  Arena& arena;
  TokenShape shape;  // B, S of the micro-batch, D
  Mode mode = Mode::Train;
  View statistics = {};  // [1, 4] f64, see RoutingKernels::router_losses
  // Gradient weights of each sub-layer's router losses: recipe weight / micro-batches.
  double aux = 0, z = 0;
  View tokens = {};  // [T, 1] i32, the ids of the micro-batch
  bool training() const { return mode == Mode::Train; }

  // A buffer that backward needs: saved when training, else scratch of the enclosing scope.
  View keep(Dtype dtype, std::int64_t rows, std::int64_t cols) {
    return training() ? arena.save(dtype, rows, cols) : arena.scratch(dtype, rows, cols);
  }
  // Of the type in which the back-end multiplies.
  View keep(std::int64_t rows, std::int64_t cols) { return keep(backend.operand(), rows, cols); }
  View scratch(std::int64_t rows, std::int64_t cols) {
    return arena.scratch(backend.operand(), rows, cols);
  }
  // Of the type of weights: sums, and what is too small to be worth rounding.
  View keep_exact(std::int64_t rows, std::int64_t cols) {
    return keep(backend.dtype(), rows, cols);
  }
  View scratch_exact(std::int64_t rows, std::int64_t cols) {
    return arena.scratch(backend.dtype(), rows, cols);
  }
};

// y = f(h), both [T, D]; h and dy are of the back-end's operand type, y and dh of its dtype. The
// norm before and the residual around belong to Model. Layers are const
// and own no memory: parameters are slots declared when the layer is made, saved values live in the
// step's arena.
class Layer {
 public:
  virtual ~Layer() = default;
  // Writes y (=). Returns the context that backward reads, in the arena; nullptr when not training.
  virtual const void* forward(Step& step, View h, View y) const = 0;
  // Writes dh (=), accumulates parameter gradients. `context` and `h` are those of the matching
  // forward.
  virtual void backward(Step& step, const void* context, View h, View dy, View dh) const = 0;
  // Called once after the optimizer's step, whatever the number of micro-batches.
  virtual void end_step(Backend&) const {}
};

// What a layer is made from.
struct LayerSite {
  std::string name;           // prefix of its parameter names: "stack.0.sublayer.3.moe"
  std::int64_t d_model = 0;   // D
  double residual_scale = 1;  // 1/sqrt(2 * sub-layers): factor on the init of its output projection
};

struct Catalog;  // model/catalog.h
// Both functions may keep the catalog: it outlives types and layers.
struct LayerPlugin {
  // What space/ must know of the sub-layer type. The catalog's gatings are complete.
  std::function<LayerType(const Catalog&)> type;
  std::function<std::unique_ptr<Layer>(const Fields&, const LayerSite&, Params&, const Catalog&)>
      make;
};

}  // namespace moebius
