#pragma once
#include "model/backend.h"
#include "model/backends/cpu/matrix.h"
#include "model/backends/cpu/parallel.h"

namespace moebius::cpu {

// What a rule does to one matrix; `second` is empty where the rule keeps one matrix of state.
struct MatrixUpdate {
  const Rule& rule;
  View first, second;
};
// Updates one matrix w by its gradient g, which is scaled by `factor` and destroyed. `memory`:
// update_scratch(rows, cols) floats.
// -> the squared norm of the scaled gradient
double apply_update(const Team& team, const Floats& w, const Floats& g, const MatrixUpdate& update,
                    float factor, float* memory);
std::int64_t update_scratch(std::int64_t rows, std::int64_t cols);

// Of a dense matrix. `memory`: sum_of_squares_scratch(g.size()) floats.
double sum_of_squares(const Team& team, const Floats& g, float* memory);
std::int64_t sum_of_squares_scratch(std::int64_t count);

// The part of a weight, its gradient or its state that belongs to matrix e of a slot of several.
inline View of_expert(const View& all, const ParamSlot& slot, std::int64_t e) {
  const std::int64_t rows = all.rows / slot.batch;
  return all.empty() ? all : all.row_range(e * rows, rows);
}
inline MatrixUpdate of_expert(const Update& all, const ParamSlot& slot, std::int64_t e) {
  const bool two = all.state.size() > 1;
  return {all.rule, of_expert(all.state[0], slot, e),
          two ? of_expert(all.state[1], slot, e) : View{}};
}

}  // namespace moebius::cpu
