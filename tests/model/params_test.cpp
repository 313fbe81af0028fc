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

TEST(Params, SlotsAreAlignedApartAndStateHasNoGradient) {
  Params params;
  const Weight a = params.declare(slot("a", 1, 3, 5));
  const Weight s = params.declare(slot("s", 1, 1, 4, Role::State));
  const Weight b = params.declare(slot("b", 2, 2, 3));
  EXPECT_EQ(params.trained(), 15 + 12);
  const std::int64_t value = params.slot(b).value_offset, gradient = params.slot(b).gradient_offset;
  constexpr std::int64_t kLine = 64 / sizeof(float);  // numbers of a cache line, the smallest ones
  EXPECT_EQ(value % kLine, 0);
  EXPECT_EQ(gradient % kLine, 0);
  EXPECT_EQ(params.slot(a).value_offset, 0);
  EXPECT_GE(params.slot(s).value_offset, 15);
  EXPECT_GE(value, params.slot(s).value_offset + 4);
  EXPECT_GE(gradient, 15);
  EXPECT_GE(params.value_size(), value + 12);
  EXPECT_GE(params.gradient_size(), gradient + 12);

  std::vector<double> values(static_cast<std::size_t>(params.value_size())),
      gradients(static_cast<std::size_t>(params.gradient_size()));
  params.attach(Dtype::F64, reinterpret_cast<std::byte*>(values.data()),
                reinterpret_cast<std::byte*>(gradients.data()));
  EXPECT_EQ(params.value(b).data, reinterpret_cast<std::byte*>(values.data() + value));
  EXPECT_EQ(params.gradient(b).data, reinterpret_cast<std::byte*>(gradients.data() + gradient));
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
