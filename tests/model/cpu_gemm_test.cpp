// The products of back-end cpu against sums in double, on every instruction set of this machine.

#include "model/backends/cpu/gemm.h"

#include <gtest/gtest.h>

#include <cmath>
#include <vector>

#include "space/base/rng.h"
#include "tests/model/instruction_levels.h"
#include "tests/support/kernels.h"

namespace moebius {
namespace {

using cpu::Factor;
using cpu::gemm;
using cpu::GemmOptions;
using cpu::Scratch;
using testing_support::each_level;
using testing_support::Kernels;
using testing_support::to_bf16;

double as_operand(double value, Dtype operand) {
  return operand == Dtype::BF16 ? to_bf16(value) : static_cast<float>(value);
}

// Random numbers of a type, its rows `pad` elements apart with NaN between them.
struct Numbers {
  Numbers(Kernels& k, Dtype dtype, std::int64_t rows, std::int64_t cols, std::int64_t pad,
          std::uint64_t seed)
      : view(k.buffer(dtype, rows, cols + pad).columns(0, cols)) {
    k.write({view.data, dtype, rows, cols + pad, cols + pad},
            Kernels::constant(rows * (cols + pad), std::nan("")));
    values = Kernels::normals(rows * cols, seed);
    for (double& value : values) value = as_operand(value, dtype);
    k.write(view, values);
  }
  double at(std::int64_t i, std::int64_t j) const {
    return values[static_cast<std::size_t>(i * view.cols + j)];
  }
  View view;
  std::vector<double> values;
};

struct Shape {
  std::int64_t m, n, k, pad;
  Dtype a, b, c, operand;
  bool transpose_a, transpose_b, accumulate;
};

void expect_product(const Shape& s, std::uint64_t seed) {
  SCOPED_TRACE(fmt::format("[{}, {}] x [{}, {}] pad {}: {}{} {}{} -> {}, multiplied as {}{}", s.m,
                           s.k, s.k, s.n, s.pad, dtype_text(s.a), s.transpose_a ? "^T" : "",
                           dtype_text(s.b), s.transpose_b ? "^T" : "", dtype_text(s.c),
                           dtype_text(s.operand), s.accumulate ? ", added" : ""));
  constexpr double kScale = 0.5;
  Kernels k("cpu", "fp32");
  Scratch scratch;
  const Numbers a(k, s.a, s.transpose_a ? s.k : s.m, s.transpose_a ? s.m : s.k, s.pad, seed);
  const Numbers b(k, s.b, s.transpose_b ? s.n : s.k, s.transpose_b ? s.k : s.n, s.pad, seed + 1);
  const Numbers c(k, s.c, s.m, s.n, s.pad, seed + 2);
  if (!s.accumulate) k.write(c.view, Kernels::constant(s.m * s.n, std::nan("")));
  gemm({a.view, s.transpose_a}, {b.view, s.transpose_b}, c.view,
       {.operand = s.operand, .scale = kScale, .accumulate = s.accumulate}, scratch);
  const std::vector<double> got = k.read(c.view);
  for (std::int64_t i = 0; i < s.m; ++i)
    for (std::int64_t j = 0; j < s.n; ++j) {
      double sum = s.accumulate ? c.at(i, j) : 0, size = std::abs(sum);
      for (std::int64_t d = 0; d < s.k; ++d) {
        const double left = s.transpose_a ? a.at(d, i) : a.at(i, d);
        const double right = s.transpose_b ? b.at(j, d) : b.at(d, j);
        const double term = as_operand(left, s.operand) * as_operand(right, s.operand) * kScale;
        sum += term;
        size += std::abs(term);
      }
      const double rounding = s.c == Dtype::BF16 ? std::abs(sum) / 256 : 0;
      ASSERT_NEAR(got[static_cast<std::size_t>(i * s.n + j)], sum, rounding + 1e-6 * size)
          << i << ", " << j;
    }
}

TEST(Gemm, IsTheProductOfRoundedFactors) {
  constexpr std::int64_t kSides[] = {1, 2, 3, 7, 16, 17, 33, 64, 65, 100, 130};
  constexpr std::int64_t kDepths[] = {1, 2, 5, 16, 31, 128, 129, 520, 1030};
  constexpr Dtype kTypes[] = {Dtype::F32, Dtype::BF16};
  each_level([&] {
    Rng rng(3);
    for (std::uint64_t i = 0; i < 60; ++i) {
      Shape s;
      s.m = kSides[rng.below(std::size(kSides))];
      s.n = kSides[rng.below(std::size(kSides))];
      s.k = kDepths[rng.below(std::size(kDepths))];
      s.pad = static_cast<std::int64_t>(rng.below(3));
      s.a = kTypes[rng.below(2)];
      s.b = kTypes[rng.below(2)];
      s.operand = kTypes[rng.below(2)];
      s.c = s.operand == Dtype::BF16 ? kTypes[rng.below(2)] : Dtype::F32;
      s.transpose_a = rng.below(2) == 1;
      s.transpose_b = rng.below(2) == 1;
      s.accumulate = rng.below(2) == 1;
      expect_product(s, 10 * i);
    }
  });
}

// Parts of a packed factor: prefixes and suffixes of its rows and columns, a depth rounded up.
TEST(Gemm, TakesPartsOfAPackedFactor) {
  struct Case {
    std::int64_t rows, cols, down, right, depth, width;
  };
  constexpr Case kCases[] = {{16, 40, 0, 0, 16, 40},     {130, 70, 0, 0, 130, 70},
                             {130, 70, 0, 0, 96, 33},    {130, 70, 0, 0, 160, 70},
                             {130, 200, 64, 64, 32, 65}, {131, 200, 128, 192, 32, 8},
                             {700, 65, 64, 0, 636, 64},  {15, 129, 0, 128, 32, 1}};
  constexpr Dtype kTypes[] = {Dtype::F32, Dtype::BF16};
  each_level([&] {
    Rng rng(5);
    for (std::uint64_t i = 0; i < 240; ++i) {
      const Case s = kCases[i % std::size(kCases)];
      const auto flip = [&] { return rng.below(2) == 1; };
      const bool across = flip(), left_across = flip(), accumulate = flip();
      const Dtype type = kTypes[flip()], left_type = kTypes[flip()], operand = kTypes[flip()];
      const Dtype to = kTypes[operand == Dtype::BF16 && flip()];
      const float scale = flip() ? 1 : 2;
      const std::int64_t m = i % 3 == 0 ? 64 : 1 + static_cast<std::int64_t>(rng.below(70));
      SCOPED_TRACE(fmt::format("case {}: [{}, {}]{} from {}, {}: {} as {} into {}", i, m, s.depth,
                               left_across ? "^T" : "", s.down, s.right, dtype_text(left_type),
                               dtype_text(operand), dtype_text(to)));
      Kernels k("cpu", "fp32");
      Scratch scratch, memory;
      const Numbers a(k, left_type, left_across ? s.depth : m, left_across ? m : s.depth, i % 3, i);
      const Numbers b(k, type, across ? s.cols : s.rows, across ? s.rows : s.cols, i % 2, i + 1);
      const Numbers c(k, to, m, s.width, i % 4, i + 2);
      if (!accumulate) k.write(c.view, Kernels::constant(c.view.size(), std::nan("")));
      const Factor right(b.view, across);
      const cpu::Packed packed =
          cpu::pack(right, operand, memory.floats(cpu::packed_floats(s.rows, s.cols, operand)));
      gemm({a.view, left_across}, packed.from(s.down, s.right), c.view,
           {.operand = operand, .scale = scale, .accumulate = accumulate}, scratch);
      const std::vector<double> got = k.read(c.view);
      for (std::int64_t row = 0; row < m; ++row)
        for (std::int64_t j = 0; j < s.width; ++j) {
          double sum = accumulate ? c.at(row, j) : 0, size = std::abs(sum);
          for (std::int64_t d = 0; d < std::min(s.depth, s.rows - s.down); ++d) {
            const std::int64_t y = s.down + d, x = s.right + j;
            const double term = scale *
                                as_operand(left_across ? a.at(d, row) : a.at(row, d), operand) *
                                as_operand(across ? b.at(x, y) : b.at(y, x), operand);
            sum += term;
            size += std::abs(term);
          }
          const double rounding = to == Dtype::BF16 ? std::abs(sum) / 256 : 0;
          ASSERT_NEAR(got[static_cast<std::size_t>(row * s.width + j)], sum, rounding + 1e-6 * size)
              << row << ", " << j;
        }
    }
  });
}

TEST(Gemm, RoutersAreNotRounded) {
  Kernels k("cpu", "bf16");
  const Weight hidden = k.declare("hidden", 40, 8);
  const Weight router = k.declare("router", 40, 8, 1, Role::Router);
  k.attach();
  const View x = k.random(5, 40, 1), y = k.matrix(5, 8);
  const std::vector<double> left = k.read(x);
  const auto error = [&](Weight w) {
    k->products.matmul(x, w, y);
    const std::vector<double> got = k.read(y), right = k.read(k.value(w));
    double worst = 0;
    for (std::size_t i = 0; i < 5; ++i)
      for (std::size_t j = 0; j < 8; ++j) {
        double sum = 0;
        for (std::size_t d = 0; d < 40; ++d) sum += left[i * 40 + d] * right[d * 8 + j];
        worst = std::max(worst, std::abs(got[i * 8 + j] - sum));
      }
    return worst;
  };
  EXPECT_LT(error(router), 1e-4);
  EXPECT_GT(error(hidden), 1e-3);  // the others are
}

// More rows than are packed at a time, more columns, a deeper sum.
TEST(Gemm, CutsLargeProducts) {
  for (const bool transposed : {false, true})
    for (const Dtype operand : {Dtype::F32, Dtype::BF16})
      expect_product({970, 300, 1100, 0, Dtype::F32, Dtype::F32, Dtype::F32, operand, transposed,
                      transposed, true},
                     1);
  for (const Dtype c : {Dtype::F32, Dtype::BF16})
    expect_product({550, 270, 2100, 0, Dtype::F32, Dtype::BF16, c, Dtype::BF16, true, false, false},
                   2);
  for (const bool transposed : {false, true})
    expect_product({150, 1100, 1030, 2, Dtype::F32, Dtype::F32, Dtype::F32, Dtype::BF16, transposed,
                    transposed, false},
                   3);
}

// Sums that are whole at once, that wait once, and that wait with a short rest.
TEST(Gemm, CutsDeepSums) {
  for (const std::int64_t depth : {400, 520, 1000})
    for (const std::int64_t cols : {64, 96, 101, 128})
      for (const Dtype c : {Dtype::F32, Dtype::BF16})
        expect_product(
            {70, cols, depth, 1, Dtype::BF16, Dtype::F32, c, Dtype::BF16, false, false, false},
            static_cast<std::uint64_t>(depth + cols));
}

TEST(Gemm, GoesPastTheCachesWithTheSameBits) {
  constexpr std::int64_t kRows = 599, kCols = 528;  // more than a MiB of c
  for (const std::int64_t depth : {40, 1100})       // the sums of the second come in two parts
    each_level([&] {
      Kernels k("cpu", "fp32");
      Scratch scratch;
      const View a = k.random(kRows, depth, 1), b = k.random(depth, kCols, 2);
      const View c = k.matrix(kRows, kCols), past = k.matrix(kRows, kCols);
      gemm(a, b, c, {.operand = Dtype::BF16}, scratch);
      gemm(a, b, past, {.operand = Dtype::BF16, .read_soon = false}, scratch);
      EXPECT_EQ(k.read(past), k.read(c));
    });
}

TEST(Gemm, OfNothingIsZero) {
  Kernels k("cpu", "fp32");
  Scratch scratch;
  for (const Dtype operand : {Dtype::F32, Dtype::BF16})
    for (const std::int64_t cols : {5, 70}) {
      const View a = k.matrix(3, 0), b = k.matrix(0, cols), c = k.matrix(3, cols, 7);
      gemm(a, b, c, {.operand = operand, .accumulate = true}, scratch);
      EXPECT_EQ(k.read(c), Kernels::constant(3 * cols, 7));
      gemm(a, b, c, {.operand = operand}, scratch);
      EXPECT_EQ(k.read(c), Kernels::constant(3 * cols, 0));
    }
}

// The bits of a row do not depend on the rows beside it.
TEST(Gemm, RowsStandAlone) {
  each_level([] {
    for (const Dtype operand : {Dtype::F32, Dtype::BF16}) {
      Kernels k("cpu", "fp32");
      Scratch scratch;
      const View a = k.random(40, 600, 1), b = k.random(600, 300, 2), c = k.matrix(40, 300);
      gemm(a, b, c, {.operand = operand}, scratch);
      const std::vector<double> all = k.read(c);
      Scratch memory;
      const cpu::Packed packed =
          cpu::pack(b, operand, memory.floats(cpu::packed_floats(600, 300, operand)));
      const View c_packed = k.matrix(40, 300);
      gemm(a, packed, c_packed, {.operand = operand}, scratch);
      const std::vector<double> all_packed = k.read(c_packed);
      for (const std::int64_t rows : {1, 2, 5, 6, 11, 39}) {
        const View part = k.matrix(rows, 300);
        gemm(a.row_range(40 - rows, rows), b, part, {.operand = operand}, scratch);
        EXPECT_EQ(k.read(part), std::vector<double>(all.end() - rows * 300, all.end())) << rows;
        gemm(a.row_range(40 - rows, rows), packed, part, {.operand = operand}, scratch);
        EXPECT_EQ(k.read(part),
                  std::vector<double>(all_packed.end() - rows * 300, all_packed.end()))
            << rows;
      }
    }
  });
}

// Nearest, ties to even; infinities and NaN stay what they are.
TEST(Gemm, RoundsToBf16LikeTheDefinition) {
  each_level([] {
    Kernels k("cpu", "fp32");
    Scratch scratch;
    std::vector<double> x = Kernels::normals(2000, 1);
    for (int i = 0; i < 64; ++i) {  // halfway between neighbours, and one bit beside
      const auto half = 0x3f808000u + (static_cast<std::uint32_t>(i) << 16);
      for (const std::uint32_t bits : {half - 1, half, half + 1})
        x.push_back(std::bit_cast<float>(bits));
    }
    for (const double value :
         {0.0, -0.0, 3.4e38, -3.4e38, HUGE_VAL, -HUGE_VAL, 1e-30, std::nan("")})
      x.push_back(value);
    const auto n = static_cast<std::int64_t>(x.size());
    const Weight gain = k.declare("gain", 1, n, 1, Role::Vector);
    k.attach();
    const View from = k.matrix(1, n, x), to = k.buffer(Dtype::BF16, 1, n), none = k.matrix(1, n);
    k->elementwise.rms_norm_backward(none, gain, k.matrix(1, 1), none, from,
                                     to);  // rounds what `from` holds
    const std::vector<double> got = k.read(to);
    for (std::size_t i = 0; i < x.size(); ++i) {
      if (std::isnan(x[i])) {
        EXPECT_TRUE(std::isnan(got[i]));
      } else {
        EXPECT_EQ(got[i], double{to_bf16(x[i])}) << x[i];
      }
    }
    // AVX512-BF16 makes zero of a denormal; the definition keeps it.
    k->elementwise.rms_norm_backward(none, gain, k.matrix(1, 1), none, k.matrix(1, n, 1e-39), to);
    const bool native = cpu::level() >= cpu::Level::Avx512Bf16;
    EXPECT_EQ(k.read(to)[0], native ? 0 : double{to_bf16(1e-39)});
  });
}

}  // namespace
}  // namespace moebius
