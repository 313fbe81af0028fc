#pragma once
#include <map>
#include <string>
#include <vector>

#include "model/arena.h"
#include "model/gradients.h"
#include "model/model.h"
#include "model/optimizer.h"

namespace moebius {

// Parts of the learner that stand alone: where its buffers lie, and its tensors in a file.

TokenShape micro_shape(const Spec& spec, const Recipe& recipe);  // of one micro-batch

// The policy of updates in the backward pass. A hidden matrix is updated there, and no gradient of
// it is kept, where one product of a step makes all of its gradient, no norm over all gradients has
// to be known first, and back-end and optimizer can. `counts` is of a micro-batch, by slot.
void drop_gradients(Params& params, const Recipe& recipe, const std::vector<Contributions>& counts,
                    const Backend& backend, const Optimizer& optimizer);

// Of all trained tensors, one after the other, by their names in checkpoints.
std::vector<StateSlot> state_slots(const std::string& name, const Optimizer& optimizer,
                                   const Params& params);

// What outlives a micro-batch. Taken from a dry arena to measure, from a real one to use.
struct LastingBuffers {
  std::vector<View> state;  // of the optimizer, in the order of its slots
  TokenBatch batch;         // [T, 1] i32
  View loss;                // [T, 1] f64
  View statistics, norm2;   // [1, 4], [1, 1] f64
};
LastingBuffers lasting_buffers(Arena& arena, Dtype dtype, const std::vector<StateSlot>& slots,
                               std::int64_t tokens);

struct Tensor {
  std::string name;
  std::vector<std::int64_t> shape;
  View view;
};
std::vector<Tensor> parameter_tensors(const Params& params);
std::vector<Tensor> state_tensors(const std::vector<StateSlot>& slots,
                                  const std::vector<View>& state);

void write_tensors(const std::string& path, const std::vector<Tensor>& tensors,
                   const std::map<std::string, std::string>& metadata, Backend& backend);
// Fills every tensor from the file and returns its metadata. Tensors of the file that are not asked
// for are refused unless their name begins with `ignored` ("": none may). Error(Storage) "PATH:
// ...".
std::map<std::string, std::string> read_tensors(const std::string& path,
                                                const std::vector<Tensor>& tensors,
                                                const std::string& ignored, Backend& backend);

}  // namespace moebius
