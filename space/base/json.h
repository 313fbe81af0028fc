#pragma once
#include <cstdint>
#include <functional>
#include <limits>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace moebius {

using Json = nlohmann::json;

// Limits of every JSON file a user hands in (reliability contract: bounded memory, bounded time).
struct JsonLimits {
  static constexpr std::int64_t kFileBytes = 4 << 20;
  static constexpr int kDepth = 32;
  static constexpr int kNodes = 100'000;
  static constexpr int kKeyBytes = 64;
  static constexpr int kStringBytes = 4096;
};

// Parses checked: size before reading, depth before building, duplicate keys, UTF-8, control
// characters, trailing text. `name` is what errors call the text ("space.json"). Error(BadInput)
// "NAME:LINE:COL: ..." on the first syntax problem.
Json parse_json(std::string_view text, const std::string& name);
Json load_json(const std::string& path);

// Errors of one document, all that are independent of each other, at most 20.
class Problems {
 public:
  explicit Problems(std::string file) : file_(std::move(file)) {}
  void add(const std::string& pointer, const std::string& what, const std::string& allowed = "",
           const std::string& got = "");
  bool empty() const { return lines_.empty(); }
  const std::string& file() const { return file_; }
  // Error(BadInput) with every line ("FILE:/pointer: what; allowed: ..; got: .."), joined by
  // newlines; nothing when empty.
  void raise() const;

 private:
  std::string file_;
  std::vector<std::string> lines_;
};

// A checked view of one JSON value. Never coerces (1.0, true and "1" are not integers), never
// narrows silently. A reader of an object remembers which keys were read; `finish()` reports the
// others with "did you mean". A wrong or missing value is reported to Problems and replaced by the
// fallback, so that reading can go on.
class Reader {
 public:
  Reader(const Json& value, std::string pointer, Problems& problems);

  bool has(const std::string& key) const;
  bool is_empty_array(const std::string& key) const;  // present, an array, without elements
  bool present() const;  // false: stands for a member that is not there, already reported
  void note(const std::string& key) { find(key, false); }  // finish() knows the key
  std::int64_t integer(const std::string& key, std::int64_t low, std::int64_t high,
                       std::optional<std::int64_t> fallback = {});
  double number(const std::string& key, double low, double high,
                std::optional<double> fallback = {});
  std::string text(const std::string& key, std::optional<std::string> fallback = {});
  // A string that must be one of `allowed`.
  std::string choice(const std::string& key, const std::vector<std::string>& allowed,
                     std::optional<std::string> fallback = {});
  // "moebius.space/1" and the like: the format of the document.
  void format(const std::string& expected);

  Reader at(const std::string& key);                  // any value; missing: reported
  Reader object(const std::string& key);              // missing: an empty object, reported
  std::vector<Reader> array(const std::string& key);  // missing: none, reported
  std::vector<std::string> keys() const;

  // The value itself, for elements of arrays; a wrong one is reported and replaced by `low` or "".
  std::int64_t as_integer(std::int64_t low, std::int64_t high) const;
  double as_number(double low, double high) const;
  std::string as_text() const;
  std::string as_choice(const std::vector<std::string>& allowed) const;

  // Every key that was not read is an error.
  void finish();
  void problem(const std::string& what, const std::string& allowed = "",
               const std::string& got = "") const;
  void problem_at(const std::string& key, const std::string& what, const std::string& allowed = "",
                  const std::string& got = "") const;

  const Json& value() const { return *value_; }
  const std::string& pointer() const { return pointer_; }
  Problems& problems() const { return *problems_; }

 private:
  const Json* find(const std::string& key, bool required);

  const Json* value_;
  std::string pointer_;
  Problems* problems_;
  std::vector<std::string> known_;
};

// A key as one step of a JSON pointer (RFC 6901), printable.
std::string escape_pointer(std::string_view key);
Json or_null(double value);  // NaN and infinities -> null
// A JSON value as an error shows it: `string "64"`, `number 1.9`, `array of 3`.
std::string describe(const Json& value);
// Canonical text: sorted keys, no spaces, integral doubles as integers, shortest doubles. The input
// of every hash.
std::string canonical(const Json& value);
// XXH3-128 of canonical(value), 32 lower-case hex digits.
std::string json_hash(const Json& value);

}  // namespace moebius
