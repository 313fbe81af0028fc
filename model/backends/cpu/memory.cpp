#include <sys/mman.h>

#include <cstring>

#include "model/backends/cpu/cpu.h"
#include "model/backends/cpu/optimizer.h"
#include "model/backends/cpu/processor.h"
#include "model/backends/cpu/workspace.h"

namespace moebius::cpu {

Dtype operand_of(const BackendOptions& options) {
  if (options.precision == "auto") return bf16_is_faster(level()) ? Dtype::BF16 : Dtype::F32;
  if (options.precision == "bf16") return Dtype::BF16;
  if (options.precision == "fp32") return Dtype::F32;
  bad_input("precision", "unknown precision of back-end cpu", "auto, bf16, fp32",
            options.precision);
}

Cpu::Cpu(Dtype operand, int threads) : operand_(operand), crew_(threads) {}

Cpu::~Cpu() {
  for (const std::span<std::byte> memory : memory_) munmap(memory.data(), memory.size());
}

// Pages of the kernel: zero, aligned, and a refusal is an answer. Huge ones save the arena's passes
// most of their TLB misses (performance.md 5.2).
std::byte* Cpu::allocate(std::int64_t bytes) {
  constexpr std::int64_t kHugePage = 2 << 20;
  const auto size = static_cast<std::size_t>(std::max<std::int64_t>(bytes, 1));
  void* const memory =
      mmap(nullptr, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (memory == MAP_FAILED) return nullptr;
  if (bytes >= kHugePage) madvise(memory, size, MADV_HUGEPAGE);
  auto* const first = static_cast<std::byte*>(memory);
  memory_.emplace_back(first, size);
  return first;
}

void Cpu::write(View to, const void* from) {
  const auto row_bytes = static_cast<std::size_t>(to.cols * size_of(to.dtype));
  const auto* source = static_cast<const std::byte*>(from);
  for (std::int64_t i = 0; i < to.rows; ++i, source += row_bytes)
    std::memcpy(to.data + i * to.ld * size_of(to.dtype), source, row_bytes);
}

void Cpu::read(View from, void* to) {
  const auto row_bytes = static_cast<std::size_t>(from.cols * size_of(from.dtype));
  auto* target = static_cast<std::byte*>(to);
  for (std::int64_t i = 0; i < from.rows; ++i, target += row_bytes)
    std::memcpy(target, from.data + i * from.ld * size_of(from.dtype), row_bytes);
}

void Cpu::bind(const Params& params, GradientSink& gradients) {
  params_ = &params;
  gradients_ = &gradients;
  std::int64_t matrices = 0;
  for (const ParamSlot& s : params.slots()) matrices = std::max(matrices, s.batch);
  squares_.assign(static_cast<std::size_t>(matrices), 0);
  norms_.assign(params.slots().size(), std::nullopt);
}

Contribution Cpu::contribution(Weight w, Producer by) {
  norms_.at(static_cast<std::size_t>(w.slot)).reset();
  return gradients_->next(w, by);
}

Floats Cpu::gradient(Weight w) {
  if (w.empty()) return {};
  const bool first = contribution(w, Producer::Other).first;
  const View g = params_->gradient(w);
  if (first) fill(g, 0);
  return g;
}

std::int64_t workspace_bytes(const Params& params, const std::vector<Operation>& products,
                             const BackendOptions& options) {
  const Dtype operand = operand_of(options);
  std::int64_t packing = 0, local = 0, shared = 0, tokens = 0;  // floats
  const auto pack = [&](std::int64_t m, std::int64_t n, std::int64_t k, Dtype c) {
    packing = std::max(packing, gemm_scratch(m, n, k, operand, c));
  };
  for (const Operation& product : products) {
    if (const auto* a = std::get_if<Attention>(&product)) {
      local = std::max(local, attention_scratch(a->seq, a->head_dim, operand));
      packing = std::max(packing, attention_packing(a->seq, a->head_dim, operand));
      shared = std::max(shared, a->batch * a->heads * kRelativeBuckets);  // gradients of the bias
      continue;
    }
    const Matmul& m = std::get<Matmul>(product);
    if (m.batch == 1) tokens = std::max(tokens, m.rows);
    pack(m.rows, m.n, m.k, operand);     // y = x W
    pack(m.rows, m.k, m.n, operand);     // dx = dy W^T
    pack(m.k, m.n, m.rows, Dtype::F32);  // dW += x^T dy
  }
  for (const ParamSlot& s : params.slots()) {
    std::int64_t& update = Team(options.threads).side_by_side(s.batch) ? local : shared;
    const bool kept = s.gradient_offset >= 0;
    update = std::max({update, backward_scratch(s, !kept), update_scratch(s.rows, s.cols)});
    if (s.role != Role::Embedding) continue;
    const std::int64_t gains = ceil_div(tokens, Crew::grain(s.cols)) * s.cols;  // of a norm
    shared = std::max({shared, gains, loss_scratch(tokens, s.rows)});
  }
  const std::int64_t threads = std::max(1, options.threads);
  return (threads * (local + packing) + shared) * size_of(Dtype::F32);
}

}  // namespace moebius::cpu
