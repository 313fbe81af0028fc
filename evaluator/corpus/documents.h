#pragma once
#include <cstdint>
#include <functional>
#include <string>
#include <string_view>
#include <vector>

namespace moebius {

// Of a document, or a whole one.
struct Piece {
  std::string_view text;
  bool begins = true, ends = true;  // whether it is the document's first, and its last
};

// Text as a sequence of documents. In a text file a document ends with the blank lines after it, so
// that the documents of a file, one after the other, are the file. In JSONL ("*.jsonl") every line
// is an object with "text"; two newlines are added to each. Only one document is in memory at a
// time; one of more than 64 MiB is handed on in pieces of that size.
class TextSource {
 public:
  // A file, or a directory: all regular files below it, sorted by path, hidden ones left out.
  // Error(BadInput) when there is nothing to read.
  explicit TextSource(const std::string& path);
  const std::vector<std::string>& files() const { return files_; }
  // Error(BadInput) naming file, line and reason for bad JSONL, and when a file changes meanwhile.
  void for_each(const std::function<void(const Piece& piece)>& emit) const;

 private:
  std::vector<std::string> files_;
};

// Hands on the lines of `text` without their ends, empty ones left out. A line of more than
// `longest` bytes is cut into pieces of at most that size, between UTF-8 characters: the pieces
// joined are the line.
void for_each_line(std::string_view text, std::size_t longest,
                   const std::function<void(std::string_view line)>& emit);

// Finds the documents in text that comes byte by byte. A line of nothing but white space (space,
// \t, \r, \v, \f) is blank. A document starts with the first byte of all, and with every line of
// text that follows blank lines.
class BlankLines {
 public:
  // True when `byte` shows that a document starts: `back()` bytes before it, where its line does.
  bool starts(char byte) {
    const bool first = line_ < 0;
    if (first) line_ = 0;
    back_ = line_++;
    if (byte == '\n') {
      blank_ = blank_ || !line_has_text_;
      line_has_text_ = false;
      line_ = 0;
    } else if (!line_has_text_ && !is_white(byte)) {
      const bool after_blank = blank_ && text_seen_;
      line_has_text_ = text_seen_ = true;
      blank_ = false;
      return first || after_blank;
    }
    return first;
  }
  std::int64_t back() const { return back_; }

 private:
  static bool is_white(char byte) { return byte == ' ' || (byte >= '\t' && byte <= '\r'); }

  std::int64_t line_ = -1, back_ = 0;  // bytes of the line: so far, before the last byte
  bool line_has_text_ = false;
  bool blank_ = false;  // a line since the last text was blank
  bool text_seen_ = false;
};

}  // namespace moebius
