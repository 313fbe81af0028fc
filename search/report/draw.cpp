#include "search/report/draw.h"

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <string_view>

#include "search/report/table.h"
#include "space/base/units.h"

namespace moebius {
namespace {

struct Glyphs {
  std::string_view across, down, corner_se, corner_sw, corner_ne, corner_nw, tee_left, tee_up,
      tee_down, plus, dot, arrow;
};
// corner_se: the corner whose lines leave to the south and east, and so on.
constexpr Glyphs kUnicode = {"─", "│", "┌", "┐", "└", "┘", "┤", "┴", "┬", "⊕", "•", "▼"};
constexpr Glyphs kAscii = {"-", "|", "+", "+", "+", "+", "+", "+", "+", "+", "*", "v"};

const Glyphs& glyphs(Charset charset) { return charset == Charset::Unicode ? kUnicode : kAscii; }

std::string repeated(std::string_view text, std::size_t count) {
  std::string result;
  for (std::size_t i = 0; i < count; ++i) result += text;
  return result;
}

constexpr std::size_t kInside = 46;  // characters between the sides of a box
constexpr std::size_t kStem = 4;     // where the line enters and leaves it

std::string filled(const std::string& text, std::size_t width) {
  const std::size_t taken = text_width(text);
  return text + std::string(width > taken ? width - taken : 0, ' ');
}

// "name value" pairs, wrapped.
std::vector<std::string> field_lines(const SubLayer& sublayer, const LayerType& type) {
  const std::size_t width = kInside - 9;
  std::vector<std::string> lines(1);
  for (const Field& field : type.fields) {
    const auto found = sublayer.fields.find(field.name);
    if (found == sublayer.fields.end()) continue;
    const std::string item = field.name + " " + value_text(found->second);
    if (!lines.back().empty() && lines.back().size() + 2 + item.size() > width)
      lines.emplace_back();
    lines.back() += (lines.back().empty() ? "" : ", ") + item;
  }
  return lines;
}

// One residual sub-layer: x + f(norm(x)).
std::string draw_sublayer(const SubLayer& sublayer, const LayerType& type, const Glyphs& g) {
  const std::string stem = std::string(g.down);
  const std::string bypass = "  " + stem + "  ";
  const auto edge = [&](std::string_view left, std::string_view tee, std::string_view right) {
    return bypass + std::string(left) + repeated(g.across, kStem - 1) + std::string(tee) +
           repeated(g.across, kInside - kStem) + std::string(right) + "\n";
  };
  std::string text = "  " + std::string(g.corner_se) + repeated(g.across, kStem + 2) +
                     std::string(g.tee_left) + "\n";
  text += edge(g.corner_se, g.tee_up, g.corner_sw);
  std::string name = type.name;
  for (const std::string& line : field_lines(sublayer, type)) {
    text += bypass + stem + " " + filled(name, 6) + " " + filled(line, kInside - 8) + stem + "\n";
    name.clear();
  }
  text += edge(g.corner_ne, g.tee_down, g.corner_nw);
  text +=
      "  " + std::string(g.corner_ne) + repeated(g.across, kStem + 2) + std::string(g.plus) + "\n";
  return text;
}

}  // namespace

Charset terminal_charset() {
  for (const char* name : {"LC_ALL", "LC_CTYPE", "LANG"}) {
    const char* value = std::getenv(name);
    if (value == nullptr || *value == '\0') continue;
    const std::string_view text = value;
    const bool utf8 = text.find("UTF-8") != text.npos || text.find("utf8") != text.npos ||
                      text.find("utf-8") != text.npos || text.find("UTF8") != text.npos;
    return utf8 ? Charset::Unicode : Charset::Ascii;
  }
  return Charset::Unicode;
}

std::string draw_block(const Spec& spec, const LayerTypes& types, Charset charset) {
  const Glyphs& g = glyphs(charset);
  const std::string indent(kStem + 5, ' ');
  std::string text = indent + fmt::format("x, width {}\n", spec.d_model);
  text += indent + std::string(g.down) + "\n";
  for (const SubLayer& sublayer : spec.sublayers)
    text +=
        draw_sublayer(sublayer, types.get(sublayer.type), g) + indent + std::string(g.down) + "\n";
  text += indent + std::string(g.arrow) + "\n";
  text += indent + notation(spec, types) + "\n";
  return text;
}

std::string draw_curve(const std::vector<CurvePoint>& curve, std::size_t width, std::size_t height,
                       Charset charset) {
  const bool validated = std::any_of(curve.begin(), curve.end(), [](const CurvePoint& point) {
    return std::isfinite(point.valid_loss);
  });
  std::vector<std::pair<std::int64_t, double>> points;
  for (const CurvePoint& point : curve) {
    const double loss = validated ? point.valid_loss : point.train_loss;
    if (std::isfinite(loss)) points.emplace_back(point.step, loss);
  }
  if (points.size() < 2 || width < 2 || height < 2) return "";
  double low = points[0].second, high = low;
  for (const auto& point : points) {
    low = std::min(low, point.second);
    high = std::max(high, point.second);
  }
  const double first = static_cast<double>(points.front().first);
  const double last = std::max(static_cast<double>(points.back().first), first + 1);
  const double range = std::max(high - low, 1e-9);
  std::vector<std::vector<bool>> grid(height, std::vector<bool>(width, false));
  for (const auto& [step, loss] : points) {
    const double x = (static_cast<double>(step) - first) / (last - first);
    const auto column = static_cast<std::size_t>(std::lround(x * static_cast<double>(width - 1)));
    const auto row = static_cast<std::size_t>(
        std::lround((high - loss) / range * static_cast<double>(height - 1)));
    grid[row][column] = true;
  }
  const Glyphs& g = glyphs(charset);
  std::string text = validated ? "validation loss\n" : "training loss\n";
  for (std::size_t row = 0; row < height; ++row) {
    const double value = high - range * static_cast<double>(row) / static_cast<double>(height - 1);
    std::string line =
        row == 0 || row + 1 == height ? fmt::format("{:8.4f} ", value) : std::string(9, ' ');
    line += g.tee_left;
    for (const bool on : grid[row]) line += on ? std::string(g.dot) : " ";
    text += line.substr(0, line.find_last_not_of(' ') + 1) + "\n";
  }
  text += std::string(9, ' ') + std::string(g.corner_ne) + repeated(g.across, width) + "\n";
  const std::string left = std::to_string(points.front().first);
  const std::string right = fmt::format("step {}", points.back().first);
  const std::size_t gap =
      width > left.size() + right.size() ? width - left.size() - right.size() : 1;
  return text + std::string(10, ' ') + left + std::string(gap, ' ') + right + "\n";
}

}  // namespace moebius
