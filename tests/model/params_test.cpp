#include "model/params.h"

#include <gtest/gtest.h>

namespace moebius {
namespace {

ParamSlot slot(const std::string& name, std::int64_t batch, std::int64_t rows, std::int64_t cols,
               Role role = Role::Hidden) {
  ParamSlot result;
  result.name = name;
  result.batch = batch;
  result.rows = rows;
  result.cols = cols;
  result.role = role;
  return result;
}

TEST(Params, SlotsAreAlignedAndStateHasNoGradient) {
  Params params;
  const Weight a = params.declare(slot("a", 1, 3, 5));
  const Weight s = params.declare(slot("s", 1, 1, 4, Role::State));
  const Weight b = params.declare(slot("b", 2, 2, 3));
  EXPECT_EQ(params.slot(b).value_offset, 32);
  EXPECT_EQ(params.slot(b).gradient_offset, 16);
  EXPECT_EQ(params.value_size(), 48);
  EXPECT_EQ(params.gradient_size(), 32);
  EXPECT_EQ(params.trained(), 15 + 12);

  std::vector<double> values(48), gradients(32);
  params.attach(Dtype::F64, reinterpret_cast<std::byte*>(values.data()),
                reinterpret_cast<std::byte*>(gradients.data()));
  EXPECT_EQ(params.value(b).data, reinterpret_cast<std::byte*>(values.data() + 32));
  EXPECT_EQ(params.gradient(b).data, reinterpret_cast<std::byte*>(gradients.data() + 16));
  EXPECT_EQ(params.value(b).rows, 4);  // batch * rows
  EXPECT_EQ(params.value(a).cols, 5);
  EXPECT_THROW(params.gradient(s), Error);
}

TEST(Params, RefusesDuplicatesEmptyShapesAndLateDeclarations) {
  Params params;
  const Weight a = params.declare(slot("a", 1, 2, 2));
  EXPECT_THROW(params.declare(slot("a", 1, 2, 2)), Error);
  EXPECT_THROW(params.declare(slot("b", 1, 0, 2)), Error);
  EXPECT_THROW(params.value(a), Error);  // nothing attached yet
  double memory[16] = {};
  params.attach(Dtype::F64, reinterpret_cast<std::byte*>(memory), nullptr);
  EXPECT_THROW(params.declare(slot("c", 1, 2, 2)), Error);
  EXPECT_THROW(params.gradient(a), Error);
}

}  // namespace
}  // namespace moebius
