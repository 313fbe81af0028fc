#include <gtest/gtest.h>

#include <cmath>
#include <functional>
#include <numbers>

#include "tests/model/cpu_support.h"
#include "tests/model/instruction_levels.h"

namespace moebius {
namespace {

using testing_support::each_level;
using testing_support::expect_agreement;
using testing_support::Kernels;
using testing_support::Lab;

constexpr std::int64_t kTokens[] = {1, 7, 64, 65, 300};
constexpr std::int64_t kWidths[] = {1, 3, 48, 65};

// body(T, width) under a trace, over odd sizes.
template <class Body>
void each_size(const Body& body) {
  for (const std::int64_t tokens : kTokens)
    for (const std::int64_t width : kWidths) {
      SCOPED_TRACE(fmt::format("T {} width {}", tokens, width));
      body(tokens, width);
    }
}

TEST(CpuElementwise, FillAgrees) {
  each_size([](std::int64_t tokens, std::int64_t width) {
    expect_agreement([&](Lab& lab) {
      const View z = lab.nan(tokens, width);
      lab->memory.fill(z, 0.5);
      lab.show(z);
    });
  });
}

TEST(CpuElementwise, ActivationsAgree) {
  for (const Activation a :
       {Activation::Relu, Activation::Gelu, Activation::SquaredRelu, Activation::Silu})
    each_size([&](std::int64_t tokens, std::int64_t width) {
      expect_agreement([&](Lab& lab) {
        const View up = lab.operand(tokens, width, 3), y = lab.operand_nan(tokens, width);
        const View slope = lab.operand_nan(tokens, width), same = lab.operand_nan(tokens, width);
        lab->elementwise.activate(a, up, y, slope);
        lab->elementwise.activate(a, up, same, {});
        lab->elementwise.multiply(lab.operand(tokens, width), slope, slope);
        for (const View& view : {y, same, slope}) lab.show(view);
        lab->elementwise.activate(a, up, y, up);
        lab.show(up);
      });
      expect_agreement([&](Lab& lab) {
        const View up = lab.operand(tokens, width, 3), gate = lab.operand(tokens, width, 3);
        const View y = lab.operand_nan(tokens, width), dup = lab.operand_nan(tokens, width);
        const View dgate = lab.operand_nan(tokens, width);
        lab->elementwise.glu(a, up, gate, y);
        lab->elementwise.glu_backward(a, up, gate, lab.operand(tokens, width), dup, dgate);
        for (const View& view : {y, dup, dgate}) lab.show(view);
      });
    });
}

// Relative to each value, so also in the far left tail, where x Phi(x) and x sigmoid(x) are small.
void expect_digits(Activation a, const std::function<double(double)>& exact) {
  std::vector<double> x;
  for (int i = -800; i <= 800; ++i) x.push_back(static_cast<float>(i * 0.01));
  const auto n = static_cast<std::int64_t>(x.size());
  each_level([&] {
    Kernels k("cpu", "fp32");
    const View up = k.matrix(1, n, x), y = k.matrix(1, n);
    k->elementwise.activate(a, up, y, {});
    const std::vector<double> got = k.read(y);
    for (std::size_t i = 0; i < x.size(); ++i) {
      const double expected = exact(x[i]);
      EXPECT_NEAR(got[i], expected, 2e-6 * std::abs(expected)) << x[i];
    }
  });
}

TEST(CpuElementwise, GeluKeepsItsDigits) {
  expect_digits(Activation::Gelu,
                [](double x) { return x * 0.5 * std::erfc(-x / std::numbers::sqrt2); });
}

TEST(CpuElementwise, SiluKeepsItsDigits) {
  expect_digits(Activation::Silu, [](double x) { return x / (1 + std::exp(-x)); });
}

TEST(CpuElementwise, ExtremeInputsStayFinite) {
  Kernels k("cpu", "fp32");
  const View up = k.matrix(1, 4, {-1e30, -200, 200, 1e30}), y = k.matrix(1, 4);
  for (const Activation a : {Activation::Gelu, Activation::Silu}) {
    k->elementwise.activate(a, up, y, {});
    const std::vector<double> got = k.read(y);
    EXPECT_EQ(got[0], 0);
    EXPECT_EQ(got[1], 0);
    // SiLU divides by a reciprocal, which is exact to 3e-7 (simd-inl.h).
    EXPECT_NEAR(got[2], 200, 3e-7 * 200);
    EXPECT_NEAR(got[3], 1e30, 3e-7 * 1e30);
  }
}

TEST(CpuNorm, RmsNormAgrees) {
  for (const bool fused : {false, true})  // with a residual to add, and with a copy of dx
    each_size([fused](std::int64_t tokens, std::int64_t width) {
      SCOPED_TRACE(fused ? "fused" : "alone");
      expect_agreement([&](Lab& lab) {
        const Weight gain = lab.kernels().declare("gain", 1, width, 1, Role::Vector);
        lab.kernels().attach();
        const View x = lab.random(tokens, width), rstd = lab.nan(tokens, 1);
        const View y = lab.operand_nan(tokens, width), dx = lab.random(tokens, width);
        const View residual = fused ? lab.random(tokens, width) : View{};
        const View rounded = fused ? lab.operand_nan(tokens, width) : View{};
        lab->elementwise.rms_norm(x, residual, gain, y, rstd);
        lab->elementwise.rms_norm_backward(x, gain, rstd, lab.random(tokens, width), dx, rounded);
        for (const View& view : {x, y, rstd, dx}) lab.show(view);
        if (fused) lab.show(rounded);
        lab.show_gradients();
      });
    });
}

TEST(CpuNorm, SoftmaxAgrees) {
  each_size([](std::int64_t tokens, std::int64_t width) {
    expect_agreement([&](Lab& lab) {
      const View logits = lab.random(tokens, width, 4), probs = lab.nan(tokens, width);
      const View dlogits = lab.random(tokens, width);
      lab->routing.softmax(logits, probs);
      lab->routing.softmax_backward(probs, lab.random(tokens, width), dlogits);
      lab.show(probs);
      lab.show(dlogits);
    });
  });
}

// A diverged model must show: one NaN makes its row NaN, and no other.
TEST(CpuNorm, SoftmaxDoesNotSwallowNan) {
  if (std::string(cpu::kBaselineName) == "x86-64")
    GTEST_SKIP() << "there the exponential makes a number of some NaN (simd-inl.h)";
  Kernels k("cpu", "fp32");
  const View logits = k.matrix(2, 3, {1, std::nan(""), 2, 0, 1, 2}), probs = k.matrix(2, 3);
  k->routing.softmax(logits, probs);
  const std::vector<double> got = k.read(probs);
  for (std::size_t i = 0; i < got.size(); ++i) EXPECT_EQ(std::isnan(got[i]), i < 3) << i;
}

TEST(CpuMatmul, ProductsAgree) {
  for (const std::int64_t rows : {1, 3, 64, 65})
    each_size([&](std::int64_t tokens, std::int64_t cols) {
      expect_agreement([&](Lab& lab) {
        const Weight w = lab.kernels().declare("w", rows, cols);
        lab.kernels().attach();
        const View x = lab.operand(tokens, rows), dy = lab.operand(tokens, cols);
        const View y = lab.operand_nan(tokens, cols), dx = lab.nan(tokens, rows);
        lab->products.matmul(x, w, y);
        lab->products.matmul_backward(x, dy, w, dx, false);
        lab->products.matmul_backward(x, dy, w, dx, true);
        const View back = lab.nan(tokens, rows);
        lab->products.matmul_transposed(dy, w, back);
        lab.show(back);
        lab.show(y);
        lab.show(dx);
        lab.show_gradients();
      });
    });
}

// Shapes with several tiles of rows and columns.
TEST(CpuMatmul, TiledProductsAgree) {
  expect_agreement([](Lab& lab) {
    const Weight w = lab.kernels().declare("w", 400, 1030);
    lab.kernels().attach();
    const View x = lab.operand(530, 400), dy = lab.operand(530, 1030);
    const View y = lab.operand_nan(530, 1030), dx = lab.nan(530, 400);
    lab->products.matmul(x, w, y);
    lab->products.matmul_backward(x, dy, w, dx, false);
    lab.show(y);
    lab.show(dx);
    lab.show_gradients();
  });
}

TEST(CpuEmbed, AgreesWithRepeatedTokens) {
  for (const bool learned : {false, true})
    each_size([&](std::int64_t seq, std::int64_t width) {
      expect_agreement([&](Lab& lab) {
        const std::int64_t batch = 2;
        const Weight table = lab.kernels().declare("table", 11, width, 1, Role::Embedding);
        Weight positions;
        if (learned) positions = lab.kernels().declare("p", seq, width, 1, Role::Embedding);
        lab.kernels().attach();
        std::vector<std::int32_t> tokens;
        for (std::int64_t t = 0; t < batch * seq; ++t)
          tokens.push_back(static_cast<std::int32_t>(t * t % 11));
        const View token = lab.kernels().indices(tokens), x = lab.nan(batch * seq, width);
        lab->elementwise.embed(token, seq, table, positions, x);
        lab->elementwise.embed_backward(token, seq, lab.random(batch * seq, width), table,
                                        positions);
        lab.show(x);
        lab.show_gradients();
      });
    });
}

TEST(CpuMemory, IsZeroAlignedAndMayBeRefused) {
  Kernels k("cpu", "fp32");
  for (const std::int64_t bytes : {std::int64_t{1}, std::int64_t{5} << 20}) {
    const std::byte* memory = k->memory.allocate(bytes);
    ASSERT_NE(memory, nullptr);
    EXPECT_EQ(reinterpret_cast<std::uintptr_t>(memory) % 64, 0u);
    EXPECT_TRUE(std::all_of(memory, memory + bytes, [](std::byte b) { return b == std::byte{}; }));
  }
  EXPECT_EQ(k->memory.allocate(std::int64_t{1} << 60), nullptr);
}

TEST(CpuInitialise, IsTheSharedDefinitionToTheBit) {
  const std::pair<Init, std::int64_t> slots[] = {{Init::normal(0.02), 100003},
                                                 {Init::normal(1.5), 1},
                                                 {Init::constant(1), 77},
                                                 {Init::first_row_one(), 9}};
  for (const auto& [init, cols] : slots) {
    const auto values = [&, i = init, n = cols](const std::string& backend, int threads) {
      Kernels k(backend, "fp32", threads);
      const Weight w = k.declare("w", 3, n, 2, Role::Hidden, i);
      k.attach();
      k->memory.initialise(k.value(w), k.params().slot(w), 0x123456789abcdef0);
      return k.read(k.value(w));
    };
    EXPECT_EQ(values("cpu", 1), values("reference", 1));
    EXPECT_EQ(values("cpu", 2), values("cpu", 1));
  }
}

}  // namespace
}  // namespace moebius
