#include "space/base/json.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cmath>
#include <cstring>
#include <iterator>

#include "space/base/check.h"
#include "space/base/hash.h"
#include "space/base/text.h"
#include "space/base/units.h"

namespace moebius {
namespace {

[[noreturn]] void refuse(const std::string& name, const std::string& what) {
  bad_input(printable(name), what);
}

// SAX events carry no position, so the parser reads through an iterator that tells where it is.
class Cursor {
 public:
  using iterator_category = std::input_iterator_tag;
  using value_type = char;
  using difference_type = std::ptrdiff_t;
  using pointer = const char*;
  using reference = const char&;

  Cursor(const char* at, const char** position) : at_(at), position_(position) {}
  reference operator*() const { return *at_; }
  Cursor& operator++() {
    *position_ = ++at_;
    return *this;
  }
  Cursor operator++(int) {
    Cursor old = *this;
    ++*this;
    return old;
  }
  bool operator==(const Cursor& other) const { return at_ == other.at_; }

 private:
  const char* at_;
  const char** position_;
};

// Builds the document and enforces every limit while it does, so that a hostile file costs no more
// than what was read of it.
class Builder final : public nlohmann::json_sax<Json> {
 public:
  Builder(std::string_view text, const std::string& name)
      : text_(text), name_(name), position_(text.data()) {}

  Cursor begin() { return {text_.data(), &position_}; }
  Cursor end() { return {text_.data() + text_.size(), &position_}; }
  Json take() { return std::move(root_); }

  bool null() override { return add(nullptr) != nullptr; }
  bool boolean(bool value) override { return add(value) != nullptr; }
  bool number_integer(std::int64_t value) override { return add(value) != nullptr; }
  bool number_unsigned(std::uint64_t value) override { return add(value) != nullptr; }
  bool number_float(double value, const std::string& digits) override {
    const std::string mantissa = digits.substr(0, digits.find_first_of("eE"));
    if (value == 0 && mantissa.find_first_of("123456789") != std::string::npos)
      fail("number too small for a double: " + digits);
    return add(value) != nullptr;
  }
  bool string(std::string& value) override {
    check_string(value, JsonLimits::kStringBytes, "string");
    return add(std::move(value)) != nullptr;
  }
  bool binary(Json::binary_t&) override { return false; }

  bool start_object(std::size_t) override { return open(Json::object()); }
  bool end_object() override { return close(); }
  bool start_array(std::size_t) override { return open(Json::array()); }
  bool end_array() override { return close(); }

  bool key(std::string& key) override {
    check_string(key, JsonLimits::kKeyBytes, "key");
    open_.back().key = key;
    if (open_.back().value->contains(key)) bad_input(pointer(), "duplicate key");
    return true;
  }

  bool parse_error(std::size_t position, const std::string&,
                   const Json::exception& error) override {
    // "[json.exception.parse_error.101] parse error at line 1, column 2: WHAT", or without a place.
    std::string what = error.what();
    what.erase(0, what.find("] ") + 2);
    if (what.starts_with("parse error")) what.erase(0, what.find(": ") + 2);
    fail_at(position > 0 ? position - 1 : 0, printable(what));
  }

 private:
  struct Level {
    Json* value;
    std::string key;  // of an object: the member being read
  };

  Json* add(Json value) {
    if (++nodes_ > JsonLimits::kNodes) fail(fmt::format("more than {} values", JsonLimits::kNodes));
    if (open_.empty()) return &(root_ = std::move(value));
    Level& level = open_.back();
    if (level.value->is_array()) return &level.value->emplace_back(std::move(value));
    return &((*level.value)[level.key] = std::move(value));
  }

  bool open(Json value) {
    if (open_.size() >= JsonLimits::kDepth)
      fail(fmt::format("nested deeper than {}", JsonLimits::kDepth));
    Json* added = add(std::move(value));
    open_.push_back({added, ""});
    return true;
  }

  bool close() {
    open_.pop_back();
    return true;
  }

  void check_string(const std::string& value, std::size_t limit, const char* kind) const {
    if (value.size() > limit) fail(fmt::format("{} longer than {} bytes", kind, limit));
    for (const char c : value) {
      const bool control = static_cast<unsigned char>(c) < 0x20 || c == 0x7f;
      if (control && c != '\n' && c != '\t' && c != '\r')
        fail(fmt::format("control character \\x{:02x} in a {}", static_cast<unsigned char>(c),
                         kind));
    }
  }

  std::string pointer() const {
    std::string result = printable(name_) + ":";
    for (const Level& level : open_)
      result += level.value->is_array() ? fmt::format("/{}", level.value->size() - 1)
                                        : "/" + escape_pointer(level.key);
    return result;
  }

  [[noreturn]] void fail(const std::string& what) const {
    const auto read = static_cast<std::size_t>(position_ - text_.data());
    fail_at(read > 0 ? read - 1 : 0, what);
  }

  [[noreturn]] void fail_at(std::size_t offset, const std::string& what) const {
    const std::string_view before = text_.substr(0, std::min(offset, text_.size()));
    const auto line = 1 + std::count(before.begin(), before.end(), '\n');
    const std::size_t start = before.rfind('\n') + 1;  // npos + 1 = 0: the first line
    refuse(fmt::format("{}:{}:{}", name_, line, before.size() - start + 1), what);
  }

  std::string_view text_;
  const std::string& name_;
  const char* position_;
  Json root_;
  std::vector<Level> open_;
  int nodes_ = 0;
};

void check_size(std::int64_t bytes, const std::string& name) {
  if (bytes > JsonLimits::kFileBytes)
    refuse(name,
           fmt::format("larger than {} ({} bytes)", bytes_text(JsonLimits::kFileBytes), bytes));
}

struct File {
  explicit File(const std::string& path)
      // Without O_NONBLOCK, opening a pipe would wait for its writer.
      : descriptor(::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK)) {}
  ~File() {
    if (descriptor >= 0) ::close(descriptor);
  }
  File(const File&) = delete;
  File& operator=(const File&) = delete;

  int descriptor;
};

void write_canonical(const Json& value, std::string& out) {
  if (value.is_object()) {
    const char* separator = "{";
    for (const auto& [key, member] : value.items()) {  // sorted: Json keeps a std::map
      out += separator + Json(key).dump() + ":";
      write_canonical(member, out);
      separator = ",";
    }
    out += value.empty() ? "{}" : "}";
  } else if (value.is_array()) {
    const char* separator = "[";
    for (const Json& element : value) {
      out += separator;
      write_canonical(element, out);
      separator = ",";
    }
    out += value.empty() ? "[]" : "]";
  } else if (value.is_number_float()) {
    out += shortest(value.get<double>());
  } else {
    out += value.dump();
  }
}

}  // namespace

std::string escape_pointer(std::string_view key) {
  std::string result;
  for (const char c : printable(key)) {
    if (c == '~')
      result += "~0";
    else if (c == '/')
      result += "~1";
    else
      result += c;
  }
  return result;
}

Json parse_json(std::string_view text, const std::string& name) {
  check_size(static_cast<std::int64_t>(text.size()), name);
  // The library's own words for an empty text differ between its versions.
  if (text.empty()) refuse(name + ":1:1", "syntax error: empty; a JSON value is needed");
  Builder builder(text, name);
  Json::sax_parse(builder.begin(), builder.end(), &builder);
  return builder.take();
}

Json load_json(const std::string& path) {
  const File file(path);
  struct stat status {};
  if (file.descriptor < 0 || ::fstat(file.descriptor, &status) != 0)
    refuse(path, std::string("cannot be read: ") + std::strerror(errno));
  if (S_ISDIR(status.st_mode)) refuse(path, "is a directory; a JSON file is needed");
  if (!S_ISREG(status.st_mode)) refuse(path, "is not a regular file");
  check_size(status.st_size, path);

  // The file may grow while it is read: never more than the limit and one byte.
  std::string text(static_cast<std::size_t>(JsonLimits::kFileBytes) + 1, '\0');
  std::size_t size = 0;
  while (size < text.size()) {
    const ssize_t count = ::read(file.descriptor, text.data() + size, text.size() - size);
    if (count < 0 && errno == EINTR) continue;
    if (count < 0) refuse(path, std::string("cannot be read: ") + std::strerror(errno));
    if (count == 0) break;
    size += static_cast<std::size_t>(count);
  }
  return parse_json(std::string_view(text).substr(0, size), path);
}

Json or_null(double value) { return std::isfinite(value) ? Json(value) : Json(); }

std::string canonical(const Json& value) {
  std::string result;
  write_canonical(value, result);
  return result;
}

std::string json_hash(const Json& value) { return hash_hex(canonical(value)); }

}  // namespace moebius
