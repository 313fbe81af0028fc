#include "space/cost.h"

#include <algorithm>
#include <cmath>

#include "space/base/check.h"

namespace moebius {
namespace {

constexpr std::int64_t kMostParameters = 1'000'000'000'000'000;
constexpr double kMostFlops = 1e24;
constexpr double kFloatBytes = 4;  // activations and gradients

[[noreturn]] void too_large() {
  bad_input("block", "needs more than 1e15 parameters", "at most 1e15 parameters");
}

std::int64_t times(std::int64_t a, std::int64_t b) {
  std::int64_t product = 0;
  if (__builtin_mul_overflow(a, b, &product)) too_large();
  return product;
}

std::int64_t plus(std::int64_t a, std::int64_t b) {
  std::int64_t sum = 0;
  if (__builtin_add_overflow(a, b, &sum) || sum > kMostParameters) too_large();
  return sum;
}

// Sums over operations of one micro-batch of `tokens`.
struct Fold {
  std::int64_t parameters = 0;
  double active = 0;  // parameters a token meets
  double flops = 0, pass_bytes = 0, exchange_bytes = 0, update_bytes = 0;

  void add(const Matmul& op, std::int64_t tokens) {
    const double rows = static_cast<double>(op.rows);
    const double cell = static_cast<double>(op.n) * static_cast<double>(op.k);
    flops += op.flops();
    parameters = plus(parameters, times(op.batch, times(op.n, op.k)));
    active += cell * rows / static_cast<double>(tokens);
  }
  void add(const Attention& op, std::int64_t) {
    // One product after the other: the last bits of sums above 2^53 depend on it.
    flops += op.product_flops();
    flops += op.product_flops();
  }
  void add(const Pass& op, std::int64_t) {
    pass_bytes += op.bytes;
    parameters = plus(parameters, op.parameters);
    active += static_cast<double>(op.parameters);
  }
  void add(const Gather& op, std::int64_t) { pass_bytes += op.bytes(); }
  void add(const Exchange& op, std::int64_t) { exchange_bytes += op.bytes; }
  void add(const WeightUpdate& op, std::int64_t) { update_bytes += op.bytes(); }

  void add(const Fold& other, std::int64_t repeats) {
    const double n = static_cast<double>(repeats);
    parameters = plus(parameters, times(other.parameters, repeats));
    active += n * other.active;
    flops += n * other.flops;
    pass_bytes += n * other.pass_bytes;
    exchange_bytes += n * other.exchange_bytes;
  }
};

Fold fold(const std::vector<Operation>& operations, std::int64_t tokens) {
  Fold result;
  for (const Operation& operation : operations)
    std::visit([&](const auto& op) { result.add(op, tokens); }, operation);
  return result;
}

// `touched` tensors of [T, D] read or written.
Pass pass(const TokenShape& shape, std::int64_t touched, std::int64_t parameters) {
  return {.bytes = kFloatBytes * static_cast<double>(touched * shape.tokens() * shape.d_model),
          .parameters = parameters};
}

Operation embedding(const Spec& spec, const LayerTypes& types, const TokenShape& shape) {
  return pass(shape, 2, learns_positions(spec, types) ? times(shape.seq, spec.d_model) : 0);
}

// One block: a norm before and a residual after every sub-layer (x read twice, f's result read,
// norm and sum written).
std::vector<Operation> block(const Spec& spec, const LayerTypes& types, const TokenShape& shape) {
  std::vector<Operation> result;
  for (const SubLayer& sublayer : spec.sublayers) {
    result.push_back(pass(shape, 5, spec.d_model));
    const auto own = types.get(sublayer.type).operations(sublayer.fields, shape);
    result.insert(result.end(), own.begin(), own.end());
  }
  return result;
}

Operation final_norm(const Spec& spec, const TokenShape& shape) {
  return pass(shape, 2, spec.d_model);
}

// Tied with the embedding: its weights are the token table.
Operation head(const Spec& spec, const TokenShape& shape, std::int64_t vocab) {
  return Matmul{.rows = shape.tokens(), .n = vocab, .k = spec.d_model};
}

Fold fold_body(const Spec& spec, const LayerTypes& types, const TokenShape& shape) {
  Fold body = fold({final_norm(spec, shape)}, shape.tokens());
  body.add(fold(block(spec, types, shape), shape.tokens()), spec.stacks);
  return body;
}

TokenShape with_width(TokenShape shape, const Spec& spec) {
  shape.d_model = spec.d_model;
  return shape;
}

}  // namespace

std::vector<Operation> operations(const Spec& spec, const LayerTypes& types,
                                  const TokenShape& micro_batch, std::int64_t vocab) {
  const TokenShape shape = with_width(micro_batch, spec);
  std::vector<Operation> result = {embedding(spec, types, shape)};
  const std::vector<Operation> repeated = block(spec, types, shape);
  for (std::int64_t i = 0; i < spec.stacks; ++i)
    result.insert(result.end(), repeated.begin(), repeated.end());
  result.push_back(final_norm(spec, shape));
  result.push_back(head(spec, shape, vocab));
  result.push_back(WeightUpdate{.parameters = fold(result, shape.tokens()).parameters});
  return result;
}

double active_flops(const Spec& spec, const LayerTypes& types, const TokenShape& micro_batch) {
  const TokenShape shape = with_width(micro_batch, spec);
  return fold_body(spec, types, shape).flops / static_cast<double>(shape.tokens());
}

Cost cost(const Spec& spec, const LayerTypes& types, const Recipe& recipe, std::int64_t vocab) {
  const TokenShape shape{recipe.micro_batch, recipe.seq, spec.d_model};
  const Fold body = fold_body(spec, types, shape);
  const Fold ends = fold({embedding(spec, types, shape), head(spec, shape, vocab)}, shape.tokens());
  const double tokens = static_cast<double>(shape.tokens());
  const double micro_batches = static_cast<double>(recipe.batch / recipe.micro_batch);

  Cost result;
  result.block_parameters = body.parameters;
  result.embedding_parameters = ends.parameters;
  result.parameters = plus(body.parameters, ends.parameters);
  result.active_parameters = std::llround(body.active);
  result.active_flops = body.flops / tokens;
  result.head_flops = ends.flops / tokens;
  result.forward_flops = result.active_flops + result.head_flops;
  result.tokens = recipe.tokens();
  result.step_flops = 3 * result.forward_flops * static_cast<double>(result.tokens);
  // Backward touches twice what forward does, and sends each token's gradient the same two ways.
  result.pass_bytes = 3 * micro_batches * (body.pass_bytes + ends.pass_bytes);
  result.exchange_bytes = 2 * micro_batches * body.exchange_bytes;
  result.update_bytes = fold({WeightUpdate{result.parameters}}, shape.tokens()).update_bytes;
  if (result.step_flops > kMostFlops)
    bad_input("block", "one step needs more than 1e24 FLOPs", "at most 1e24 FLOPs",
              fmt::format("{:.3g}", result.step_flops));
  return result;
}

std::string why_illegal(const Spec& spec, const LayerTypes& types, const Recipe& recipe) {
  std::string reason =
      why_illegal(spec, types, TokenShape{recipe.micro_batch, recipe.seq, spec.d_model});
  if (!reason.empty() || recipe.micro_batch == recipe.batch) return reason;
  // A group that spans sequences would be another one in a part of the batch.
  for (std::size_t i = 0; i < spec.sublayers.size(); ++i) {
    const Fields& fields = spec.sublayers[i].fields;
    const LayerType& type = types.get(spec.sublayers[i].type);
    const std::string field = type.needs_whole_batch ? type.needs_whole_batch(fields) : "";
    if (!field.empty())
      return fmt::format(
          "/sublayers/{}/{}: {} needs the whole batch at once; allowed: "
          "micro_batch {}; got: {}",
          i, field, value_text(fields.at(field)), recipe.batch, recipe.micro_batch);
  }
  return "";
}

}  // namespace moebius
