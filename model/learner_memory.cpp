#include "model/learner_memory.h"

#include "model/checkpoint.h"
#include "model/learner.h"

namespace moebius {
namespace {

std::string shape_text(const std::vector<std::int64_t>& shape) {
  return fmt::format("[{}]", fmt::join(shape, ", "));
}

void check_tensor(const std::string& path, const Tensor& want, const SafetensorsFile& file) {
  const auto found = file.tensors().find(want.name);
  if (found == file.tensors().end())
    throw Error(Exit::Storage, path + ": has no tensor '" + want.name + "' of this model");
  const TensorInfo& have = found->second;
  if (have.shape != want.shape || have.dtype != want.view.dtype)
    throw Error(Exit::Storage,
                fmt::format("{}: tensor '{}' is {} {}, this model's is {} {}", path, want.name,
                            dtype_text(have.dtype), shape_text(have.shape),
                            dtype_text(want.view.dtype), shape_text(want.shape)));
}

}  // namespace

TokenShape micro_shape(const Spec& spec, const Recipe& recipe) {
  return {recipe.micro_batch, recipe.seq, spec.d_model};
}

void drop_gradients(Params& params, const Recipe& recipe, const std::vector<Contributions>& counts,
                    const Backend& backend, const Optimizer& optimizer) {
  if (recipe.clip != 0 || recipe.micro_batch != recipe.batch) return;
  if (!backend.products_update() || !optimizer.has_rule()) return;
  for (int i = 0; i < static_cast<int>(params.slots().size()); ++i) {
    const Contributions& of_slot = counts.at(static_cast<std::size_t>(i));
    if (params.slot({i}).role == Role::Hidden && of_slot.count == 1 && of_slot.products_only)
      params.drop_gradient({i});
  }
}

std::vector<StateSlot> state_slots(const std::string& name, const Optimizer& optimizer,
                                   const Params& params) {
  std::vector<StateSlot> result;
  for (const ParamSlot& slot : params.slots())
    if (is_trained(slot.role))
      for (const StateSlot& state : optimizer.state(slot))
        result.push_back({name + "." + state.name + "." + slot.name, state.rows, state.cols});
  return result;
}

LastingBuffers lasting_buffers(Arena& arena, Dtype dtype, const std::vector<StateSlot>& slots,
                               std::int64_t tokens) {
  LastingBuffers buffers;
  for (const StateSlot& slot : slots)
    buffers.state.push_back(arena.save(dtype, slot.rows, slot.cols));
  buffers.batch.token = arena.save(Dtype::I32, tokens, 1);
  buffers.batch.target = arena.save(Dtype::I32, tokens, 1);
  buffers.loss = arena.save(Dtype::F64, tokens, 1);
  buffers.statistics = arena.save(Dtype::F64, 1, 4);
  buffers.norm2 = arena.save(Dtype::F64, 1, 1);
  return buffers;
}

std::vector<Tensor> parameter_tensors(const Params& params) {
  std::vector<Tensor> tensors;
  for (std::size_t i = 0; i < params.slots().size(); ++i) {
    const ParamSlot& slot = params.slots()[i];
    if (slot.role == Role::Sum) continue;
    std::vector<std::int64_t> shape = {slot.rows, slot.cols};
    if (slot.batch > 1) shape.insert(shape.begin(), slot.batch);
    tensors.push_back({slot.name, shape, params.value(Weight{static_cast<int>(i)})});
  }
  return tensors;
}

std::vector<Tensor> state_tensors(const std::vector<StateSlot>& slots,
                                  const std::vector<View>& state) {
  std::vector<Tensor> tensors;
  for (std::size_t i = 0; i < slots.size(); ++i)
    tensors.push_back({slots[i].name, {slots[i].rows, slots[i].cols}, state.at(i)});
  return tensors;
}

void write_tensors(const std::string& path, const std::vector<Tensor>& tensors,
                   const std::map<std::string, std::string>& metadata, Backend& backend) {
  std::vector<TensorOut> out;
  for (const Tensor& tensor : tensors)
    out.push_back({tensor.name, tensor.view.dtype, tensor.shape});
  write_safetensors(path, out, metadata, [&](std::size_t index, std::span<std::byte> to) {
    backend.memory.read(tensors[index].view, to.data());
  });
}

std::map<std::string, std::string> read_tensors(const std::string& path,
                                                const std::vector<Tensor>& tensors,
                                                const std::string& ignored, Backend& backend) {
  const SafetensorsFile file(path);
  file.verify();
  std::size_t known = 0;
  for (const Tensor& tensor : tensors) check_tensor(path, tensor, file);
  for (const auto& [name, info] : file.tensors())
    known += ignored.empty() || !name.starts_with(ignored) ? 1 : 0;
  if (known != tensors.size())
    throw Error(Exit::Storage, fmt::format("{}: holds {} tensors, this model has {}", path, known,
                                           tensors.size()));
  std::vector<std::byte> bytes;
  for (const Tensor& tensor : tensors) {
    bytes.resize(static_cast<std::size_t>(tensor.view.size() * size_of(tensor.view.dtype)));
    file.read(tensor.name, bytes);
    backend.memory.write(tensor.view, bytes.data());
  }
  return file.metadata();
}

}  // namespace moebius
