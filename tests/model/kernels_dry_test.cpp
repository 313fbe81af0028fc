#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "model/arena.h"
#include "tests/support/kernels.h"

namespace moebius {
namespace {

using ::testing::Each;
using testing_support::Kernels;

// One of every product; the routing is forced to what the dry run expects.
std::vector<Operation> all_products(const std::string& name) {
  Kernels k(name, "fp32");
  const Weight w = k.declare("w", 4, 6), expert = k.declare("expert", 4, 6, 3);
  const Weight table = k.declare("table", 9, 4);
  k.attach();
  const AttentionShape shape{.batch = 2, .seq = 5, .heads = 2, .head_dim = 2, .scale = 1};
  const View x = k.matrix(10, 4), y = k.matrix(10, 6), lse = k.matrix(10, 2);
  const View target = k.indices(std::vector<std::int32_t>(10, 1));
  const View loss = k.buffer(Dtype::F64, 10, 1);
  Routing r;
  r.offset = k.indices({0, 2, 2, 7});
  r.expected = 7;
  k->products.matmul(x, w, y);
  k->products.matmul_backward(x, y, w, x, false);
  k->products.matmul_transposed(y, w, x);
  k->products.expert_matmul(x, r, expert, y);
  k->products.expert_matmul_backward(x, y, r, expert, x, true);
  k->attention.attend(shape, x, x, x, {}, k.matrix(10, 4), lse);
  k->attention.attend_backward(shape, x, x, x, {}, x, lse, x, k.matrix(10, 4), k.matrix(10, 4),
                               k.matrix(10, 4));
  k->loss.cross_entropy(x, table, target, 1, loss, {});
  k->loss.cross_entropy(x, table, target, 1, loss, k.matrix(10, 4));
  return k->logged_products();
}

TEST(Dry, CountsTheProductsThatReferenceDoes) {
  const auto dry = all_products("dry"), reference = all_products("reference");
  // Dense, experts, attention: one forward, two backward (dense: its transpose, too); the loss.
  ASSERT_EQ(dry.size(), 4u + 3u + 3u + 1u + 3u);
  ASSERT_EQ(dry.size(), reference.size());
  for (std::size_t i = 0; i < dry.size(); ++i) EXPECT_TRUE(dry[i] == reference[i]) << "entry " << i;
  EXPECT_EQ(std::get<Matmul>(dry[0]), (Matmul{.rows = 10, .n = 6, .k = 4}));
  EXPECT_EQ(std::get<Matmul>(dry[4]), (Matmul{.rows = 7, .n = 6, .k = 4, .batch = 3}));
  EXPECT_EQ(std::get<Attention>(dry[7]),
            (Attention{.batch = 2, .seq = 5, .heads = 2, .head_dim = 2}));
}

TEST(Dry, TouchesNoMemory) {
  Kernels k("dry");
  const View view = k.buffer(Dtype::F64, 1 << 20, 1 << 12);  // 32 GiB
  ASSERT_NE(view.data, nullptr);
  EXPECT_EQ(reinterpret_cast<std::uintptr_t>(view.data) % 64, 0u);
  k->memory.fill(view, 1);
  EXPECT_THAT(k.read(view.row_range(0, 1)), Each(0));
}

TEST(Reference, ListsTheProductsSinceTheLastChangeOfWeights) {
  Kernels k;
  const Weight w = k.declare("w", 4, 6);
  k.attach();
  const View x = k.matrix(2, 4), y = k.matrix(2, 6);
  k->products.matmul(x, w, y);
  k->products.matmul(x, w, y);
  k->memory.weights_changed();
  EXPECT_EQ(k->logged_products().size(), 2u);  // still there to be read after the step
  k->products.matmul(x, w, y);
  EXPECT_EQ(k->logged_products().size(), 1u);
}

}  // namespace
}  // namespace moebius
