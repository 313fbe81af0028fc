#pragma once
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "model/backend.h"

namespace moebius {

// A matrix of optimizer state in the learner's memory, saved with checkpoints.
struct StateSlot {
  std::string name;  // "adamw.m.stack.0..."
  std::int64_t rows = 0, cols = 0;
};

// Keeps no memory of its own.
class Optimizer {
 public:
  virtual ~Optimizer() = default;
  // What it keeps of a trained tensor: Update::first, and second when there are two.
  virtual std::vector<StateSlot> state(const ParamSlot& slot) const = 0;
  // At step t (1-based), for a tensor with this rate and weight decay.
  virtual Rule rule(std::int64_t t, double lr, double decay) const = 0;
};

struct OptimizerPlugin {
  std::string help;
  std::function<std::unique_ptr<Optimizer>()> make;
};

}  // namespace moebius
