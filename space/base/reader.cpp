#include <algorithm>
#include <cmath>

#include "space/base/check.h"
#include "space/base/json.h"
#include "space/base/text.h"
#include "space/base/units.h"

namespace moebius {
namespace {

constexpr std::size_t kMostProblems = 20;
constexpr std::size_t kLineBytes = 512;
constexpr std::size_t kShownBytes = 60;

std::string cut(std::string text, std::size_t limit) {
  if (text.size() <= limit) return text;
  std::size_t end = limit - 3;
  while (end > 0 && (text[end] & 0xC0) == 0x80) --end;  // not inside a UTF-8 character
  return text.substr(0, end) + "...";
}

// What stands for a member that is not there. Reading on from it stays silent: the missing key
// itself was reported.
const Json& absent() {
  static const Json value = Json::object();
  return value;
}

std::string range(double low, double high) {
  return fmt::format("{}..{}", shortest(low), shortest(high));
}

}  // namespace

void Problems::add(const std::string& pointer, const std::string& what, const std::string& allowed,
                   const std::string& got) {
  if (lines_.size() >= kMostProblems) return;
  std::string line = printable(file_) + (pointer.empty() ? ": " : ":" + pointer + ": ") + what;
  if (!allowed.empty()) line += "; allowed: " + allowed;
  if (!got.empty()) line += "; got: " + got;
  lines_.push_back(cut(std::move(line), kLineBytes));
}

void Problems::raise() const {
  if (!lines_.empty()) throw Error(Exit::BadInput, join(lines_, "\n"));
}

Reader::Reader(const Json& value, std::string pointer, Problems& problems)
    : value_(&value), pointer_(std::move(pointer)), problems_(&problems) {}

const Json* Reader::find(const std::string& key, bool required) {
  const bool first = known_.empty();
  if (std::find(known_.begin(), known_.end(), key) == known_.end()) known_.push_back(key);
  if (!value_->is_object()) {
    if (first) problem("must be an object", "", describe(*value_));
    return nullptr;
  }
  const auto found = value_->find(key);
  if (found != value_->end()) return &*found;
  if (required && present()) problem(fmt::format("missing key \"{}\"", key));
  return nullptr;
}

Reader Reader::at(const std::string& key) {
  const Json* value = find(key, true);
  return {value ? *value : absent(), pointer_ + "/" + escape_pointer(key), *problems_};
}

bool Reader::has(const std::string& key) const {
  return value_->is_object() && value_->contains(key);
}

bool Reader::is_empty_array(const std::string& key) const {
  return has(key) && (*value_)[key].is_array() && (*value_)[key].empty();
}

bool Reader::present() const { return value_ != &absent(); }

std::int64_t Reader::as_integer(std::int64_t low, std::int64_t high) const {
  if (!present()) return low;
  const std::string allowed = fmt::format("{}..{}", low, high);
  if (!value_->is_number_integer()) {
    std::string got = describe(*value_);
    if (value_->is_number()) got += " (not an integer)";
    problem("must be an integer", allowed, got);
    return low;
  }
  const bool wraps = value_->is_number_unsigned() &&
                     value_->get<std::uint64_t>() > std::numeric_limits<std::int64_t>::max();
  const std::int64_t result = wraps ? 0 : value_->get<std::int64_t>();
  if (!wraps && low <= result && result <= high) return result;
  problem("out of range", allowed, describe(*value_));
  return low;
}

double Reader::as_number(double low, double high) const {
  if (!present()) return low;
  if (!value_->is_number()) {
    problem("must be a number", range(low, high), describe(*value_));
    return low;
  }
  const double result = value_->get<double>();
  if (low <= result && result <= high) return result;
  problem("out of range", range(low, high), describe(*value_));
  return low;
}

std::string Reader::as_text() const {
  if (value_->is_string()) return value_->get<std::string>();
  if (present()) problem("must be a string", "", describe(*value_));
  return "";
}

std::string Reader::as_choice(const std::vector<std::string>& allowed) const {
  if (!present()) return "";
  if (!value_->is_string()) {
    problem("must be a string", join(allowed, ", "), describe(*value_));
    return "";
  }
  const auto result = value_->get<std::string>();
  if (std::find(allowed.begin(), allowed.end(), result) == allowed.end())
    problem(unknown_name("unknown choice", result, allowed), join(allowed, ", "),
            describe(*value_));
  return result;
}

std::int64_t Reader::integer(const std::string& key, std::int64_t low, std::int64_t high,
                             std::optional<std::int64_t> fallback) {
  return fallback && !has(key) ? (find(key, false), *fallback) : at(key).as_integer(low, high);
}

double Reader::number(const std::string& key, double low, double high,
                      std::optional<double> fallback) {
  return fallback && !has(key) ? (find(key, false), *fallback) : at(key).as_number(low, high);
}

std::string Reader::text(const std::string& key, std::optional<std::string> fallback) {
  return fallback && !has(key) ? (find(key, false), *fallback) : at(key).as_text();
}

std::string Reader::choice(const std::string& key, const std::vector<std::string>& allowed,
                           std::optional<std::string> fallback) {
  return fallback && !has(key) ? (find(key, false), *fallback) : at(key).as_choice(allowed);
}

void Reader::format(const std::string& expected) {
  const Json* value = find("format", true);
  if (value != nullptr && *value != expected)
    problem_at("format", "unknown format", expected, describe(*value));
}

Reader Reader::object(const std::string& key) {
  Reader member = at(key);
  if (member.value_->is_object()) return member;
  member.problem("must be an object", "", describe(*member.value_));
  member.value_ = &absent();
  return member;
}

std::vector<Reader> Reader::array(const std::string& key) {
  std::vector<Reader> result;
  const Reader member = at(key);
  if (!member.present()) return result;
  if (!member.value_->is_array()) {
    member.problem("must be an array", "", describe(*member.value_));
    return result;
  }
  for (std::size_t i = 0; i < member.value_->size(); ++i)
    result.emplace_back((*member.value_)[i], fmt::format("{}/{}", member.pointer_, i), *problems_);
  return result;
}

std::vector<std::string> Reader::keys() const {
  std::vector<std::string> result;
  if (value_->is_object())
    for (const auto& [key, unused] : value_->items()) result.push_back(key);
  return result;
}

void Reader::finish() {
  std::vector<std::string> allowed = known_;
  std::sort(allowed.begin(), allowed.end());
  for (const std::string& key : keys())
    if (std::find(known_.begin(), known_.end(), key) == known_.end())
      problem_at(key, unknown_name("unknown key", key, allowed), join(allowed, ", "));
}

void Reader::problem(const std::string& what, const std::string& allowed,
                     const std::string& got) const {
  problems_->add(pointer_, what, allowed, got);
}

void Reader::problem_at(const std::string& key, const std::string& what, const std::string& allowed,
                        const std::string& got) const {
  problems_->add(pointer_ + "/" + escape_pointer(key), what, allowed, got);
}

std::string describe(const Json& value) {
  if (value.is_string())
    return "string \"" + cut(printable(value.get<std::string>()), kShownBytes) + "\"";
  if (value.is_number_float()) return "number " + shortest(value.get<double>());
  if (value.is_number()) return "number " + value.dump();
  if (value.is_array()) return fmt::format("array of {}", value.size());
  if (value.is_object()) return fmt::format("object of {}", value.size());
  return value.dump();
}

}  // namespace moebius
