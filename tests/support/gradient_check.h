#pragma once
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <functional>
#include <vector>

namespace moebius::testing_support {

// Central differences of a scalar function against a claimed gradient, in f64.
//
//   n_i = (f(x + h e_i) - f(x - h e_i)) / (x_plus - x_minus),  h = 1e-5 max(1, |x_i|)
//
// Accepted when |n_i - a_i| <= tolerance * max(1e-3, max_j |n_j|) for every i: relative to the
// largest component, because small ones drown in rounding (f / h * 1e-16 is about 1e-11 f), with a
// floor for gradients that vanish. A gradient off by a factor of 1.001 fails by three orders.
struct GradientCheck {
  double tolerance = 1e-6;
  double step = 1e-5;
};

inline ::testing::AssertionResult check_gradient(
    const std::function<double(const std::vector<double>&)>& f, std::vector<double> x,
    const std::vector<double>& analytic, const GradientCheck& options = {}) {
  if (analytic.size() != x.size())
    return ::testing::AssertionFailure() << analytic.size() << " gradients of " << x.size();
  std::vector<double> numeric(x.size());
  double largest = 1e-3;
  for (std::size_t i = 0; i < x.size(); ++i) {
    const double middle = x[i], h = options.step * std::max(1.0, std::abs(middle));
    const double right = middle + h, left = middle - h;
    x[i] = right;
    const double above = f(x);
    x[i] = left;
    numeric[i] = (above - f(x)) / (right - left);
    x[i] = middle;
    largest = std::max(largest, std::abs(numeric[i]));
  }
  f(x);  // leaves the caller's buffers as they were
  for (std::size_t i = 0; i < x.size(); ++i)
    if (!(std::abs(numeric[i] - analytic[i]) <= options.tolerance * largest))
      return ::testing::AssertionFailure()
             << "element " << i << ": central difference " << numeric[i] << ", claimed "
             << analytic[i] << ", allowed error " << options.tolerance * largest;
  return ::testing::AssertionSuccess();
}

// The same for an input that lies in a back-end's memory: `kernels` offers read(view) and
// write(view, values), loss() runs the forward kernels.
template <class KernelsT, class ViewT>
::testing::AssertionResult check_gradient(KernelsT& kernels, ViewT input,
                                          const std::function<double()>& loss,
                                          const std::vector<double>& analytic,
                                          const GradientCheck& options = {}) {
  return check_gradient(
      [&](const std::vector<double>& x) {
        kernels.write(input, x);
        return loss();
      },
      kernels.read(input), analytic, options);
}

}  // namespace moebius::testing_support
