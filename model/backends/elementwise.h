#pragma once
#include <cstdint>

#include "model/params.h"
#include "model/view.h"

namespace moebius {

enum class Activation { Relu, Gelu, SquaredRelu, Silu };  // gelu: the exact one, x Phi(x)

// Passes over rows between products: embedding, norm and nonlinearities.
class ElementwiseKernels {
 public:
  virtual ~ElementwiseKernels() = default;
  // x[t] = table[token[t]] (+ positions[t mod S]); positions may be empty.
  virtual void embed(View token, std::int64_t seq, Weight table, Weight positions, View x) = 0;
  // Adds to the gradients of the table and of the positions.
  virtual void embed_backward(View token, std::int64_t seq, View dx, Weight table,
                              Weight positions) = 0;
  // The residual stream and its norm, one pass: x += residual (unless empty), then
  // y = x * rstd * gain, rstd = 1/sqrt(mean_j x_j^2 + 1e-6) [T,1] (RMSNorm, 1910.07467).
  virtual void rms_norm(View x, View residual, Weight gain, View y, View rstd) = 0;
  // dx += the gradient of x, then rounded = dx (unless empty), in the type of that view.
  virtual void rms_norm_backward(View x, Weight gain, View rstd, View dy, View dx,
                                 View rounded) = 0;
  virtual void multiply(View x, View y, View product) = 0;  // product = x y, by element
  // y = a(up), slope = a'(up): may be `up` itself, or empty. The backward pass is a multiplication.
  virtual void activate(Activation a, View up, View y, View slope) = 0;
  // y = a(gate) * up (GLU family, 2002.05202).
  virtual void glu(Activation a, View up, View gate, View y) = 0;
  virtual void glu_backward(Activation a, View up, View gate, View dy, View dup, View dgate) = 0;
};

}  // namespace moebius
