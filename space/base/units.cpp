#include "space/base/units.h"

#include <fmt/format.h>

#include <array>
#include <charconv>
#include <cmath>
#include <string>

namespace moebius {
namespace {

constexpr double kExactDouble = 0x1p53;  // integers beyond are not all representable

// Three significant digits of a number below 1000, without trailing zeros.
std::string three_digits(double value) { return fmt::format("{:.3g}", value); }

// The first unit in which `value`, rounded to three digits, stays below `base`.
template <std::size_t N>
std::string with_unit(double value, double base, const std::array<const char*, N>& units) {
  std::size_t unit = 0;
  for (; unit + 1 < N && std::abs(value) >= base - 0.5; ++unit) value /= base;
  if (std::abs(value) < 999.5) return three_digits(value) + units[unit];
  return fmt::format("{:.0f}{}", value, units[unit]);
}

// The number at the front of `text`; the rest is left there.
bool take_number(std::string_view& text, double& value) {
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc() || !std::isfinite(value) || std::signbit(value)) return false;
  text.remove_prefix(static_cast<std::size_t>(end - text.data()));
  return true;
}

}  // namespace

std::string count_text(double n) { return with_unit(n, 1000, std::array{"", "k", "M", "B", "T"}); }

std::string bytes_text(std::int64_t bytes) {
  return with_unit(static_cast<double>(bytes), 1024,
                   std::array{" B", " KiB", " MiB", " GiB", " TiB"});
}

std::string seconds_text(double seconds) {
  if (!std::isfinite(seconds)) return "-";
  if (seconds < 0) return "-" + seconds_text(-seconds);
  if (seconds == 0) return "0 s";
  if (seconds < 59.95) {
    double value = seconds * 1e9;
    const std::array units = {" ns", " us", " ms", " s"};
    std::size_t unit = 0;
    for (; unit + 1 < units.size() && value >= 999.5; ++unit) value /= 1000;
    return three_digits(value) + units[unit];
  }
  const std::int64_t whole = std::llround(seconds);
  if (whole < 3600) return fmt::format("{}m{:02}s", whole / 60, whole % 60);
  return fmt::format("{}h{:02}m", whole / 3600, whole % 3600 / 60);
}

std::string exact_text(double n) {
  if (n > kExactDouble) return fmt::format("~2^{:.0f}", std::log2(n));
  const std::string digits = fmt::format("{:.0f}", n);
  std::string result;
  for (std::size_t i = 0; i < digits.size(); ++i) {
    if (i > 0 && (digits.size() - i) % 3 == 0) result += ',';
    result += digits[i];
  }
  return result;
}

std::string shortest(double value) {
  if (std::abs(value) <= kExactDouble && value == std::floor(value))
    return std::to_string(static_cast<std::int64_t>(value));
  std::array<char, 32> buffer;
  const auto [end, error] = std::to_chars(buffer.data(), buffer.data() + buffer.size(), value);
  return error == std::errc() ? std::string(buffer.data(), end) : "?";
}

bool parse_count(std::string_view text, double& value) {
  constexpr std::string_view kSuffixes = "kMGBT";
  constexpr std::array kFactors = {1e3, 1e6, 1e9, 1e9, 1e12};
  double number = 0;
  if (!take_number(text, number) || text.size() > 1) return false;
  if (text.size() == 1) {
    const std::size_t suffix = kSuffixes.find(text[0]);
    if (suffix == std::string_view::npos) return false;
    number *= kFactors[suffix];
  }
  value = number;
  return std::isfinite(number);
}

bool parse_bytes(std::string_view text, std::int64_t& bytes) {
  double number = 0;
  if (!take_number(text, number)) return false;
  if (!text.empty()) {
    constexpr std::array<std::string_view, 4> kSuffixes = {"KiB", "MiB", "GiB", "TiB"};
    std::size_t suffix = 0;
    while (suffix < kSuffixes.size() && kSuffixes[suffix] != text) ++suffix;
    if (suffix == kSuffixes.size()) return false;
    number = std::ldexp(number, 10 * (static_cast<int>(suffix) + 1));
  }
  if (number >= 0x1p62) return false;
  bytes = static_cast<std::int64_t>(number);
  return true;
}

}  // namespace moebius
