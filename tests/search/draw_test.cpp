#include "search/report/draw.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <cstdlib>
#include <limits>
#include <sstream>

#include "search/commands/options.h"
#include "search/report/table.h"

namespace moebius {
namespace {

using testing::HasSubstr;
using testing::Not;

std::vector<std::string> lines_of(const std::string& text) {
  std::vector<std::string> lines;
  std::istringstream stream(text);
  for (std::string line; std::getline(stream, line);) lines.push_back(line);
  return lines;
}

TEST(DrawBlock, ShowsEveryFieldOfEverySubLayer) {
  for (const std::string& block : baseline_blocks()) {
    const Spec spec = baseline(block, scale("nano"), layer_types());
    const std::string text = draw_block(spec, layer_types(), Charset::Unicode);
    for (const SubLayer& sublayer : spec.sublayers)
      for (const auto& [name, value] : sublayer.fields)
        EXPECT_THAT(text, HasSubstr(name + " " + value_text(value))) << block;
    EXPECT_THAT(text, HasSubstr(notation(spec, layer_types())));
  }
}

TEST(DrawBlock, OneResidualSumForEachSubLayer) {
  const Spec spec = baseline("glam-nano", layer_types());
  const std::string text = draw_block(spec, layer_types(), Charset::Unicode);
  std::size_t sums = 0;
  for (std::size_t at = text.find("⊕"); at != std::string::npos; at = text.find("⊕", at + 1))
    ++sums;
  EXPECT_EQ(sums, spec.sublayers.size());
}

TEST(DrawBlock, IsPlainAsciiWhereAskedFor) {
  const std::string text =
      draw_block(baseline("glam-nano", layer_types()), layer_types(), Charset::Ascii);
  EXPECT_TRUE(std::all_of(text.begin(), text.end(), [](char c) { return c > 0; }));
}

TEST(DrawBlock, SidesOfBoxesStandAboveEachOther) {
  for (const Charset charset : {Charset::Ascii, Charset::Unicode}) {
    std::size_t width = 0;
    for (const std::string& line :
         lines_of(draw_block(baseline("glam-nano", layer_types()), layer_types(), charset))) {
      if (text_width(line) < 40) continue;  // not part of a box
      if (width == 0) width = text_width(line);
      EXPECT_EQ(text_width(line), width) << line;
    }
    EXPECT_GT(width, 0U);
  }
}

std::vector<CurvePoint> falling(int points) {
  std::vector<CurvePoint> curve;
  for (int i = 1; i <= points; ++i) {
    CurvePoint point;
    point.step = 10 * i;
    point.train_loss = 5.0 / i;
    point.valid_loss = i % 2 == 0 ? 5.5 / i : std::numeric_limits<double>::quiet_NaN();
    curve.push_back(point);
  }
  return curve;
}

TEST(DrawCurve, StartsAtTheTopLeftAndEndsAtTheBottomRight) {
  const std::vector<std::string> lines = lines_of(draw_curve(falling(8), 20, 5, Charset::Ascii));
  ASSERT_EQ(lines.size(), 8U);
  EXPECT_EQ(lines[0], "validation loss");
  EXPECT_EQ(lines[1], "  2.7500 +*");
  EXPECT_EQ(lines[5].substr(0, 10), "  0.6875 +");
  EXPECT_EQ(lines[5].back(), '*');
  EXPECT_EQ(lines[5].size(), 30U);
  EXPECT_THAT(lines[7], HasSubstr("step 80"));
}

TEST(DrawCurve, FallsBackToTheTrainingLoss) {
  std::vector<CurvePoint> curve = falling(3);
  for (CurvePoint& point : curve) point.valid_loss = std::numeric_limits<double>::quiet_NaN();
  EXPECT_THAT(draw_curve(curve, 20, 5, Charset::Ascii), HasSubstr("training loss"));
}

TEST(DrawCurve, NothingToDrawIsNothing) {
  EXPECT_EQ(draw_curve({}, 20, 5, Charset::Ascii), "");
  EXPECT_EQ(draw_curve(falling(1), 20, 5, Charset::Ascii), "");
}

TEST(DrawCurve, AConstantLossIsALine) {
  std::vector<CurvePoint> curve = falling(4);
  for (CurvePoint& point : curve) point.valid_loss = 1.0;
  const std::vector<std::string> lines = lines_of(draw_curve(curve, 20, 5, Charset::Ascii));
  EXPECT_EQ(lines[1], "  1.0000 +*     *      *     *");
  for (std::size_t i = 2; i < lines.size(); ++i) EXPECT_THAT(lines[i], Not(HasSubstr("*")));
}

TEST(Charset, FollowsTheLocale) {
  setenv("LC_ALL", "C", 1);
  EXPECT_EQ(terminal_charset(), Charset::Ascii);
  setenv("LC_ALL", "de_DE.UTF-8", 1);
  EXPECT_EQ(terminal_charset(), Charset::Unicode);
  unsetenv("LC_ALL");
}

}  // namespace
}  // namespace moebius
