#pragma once
#include <cstdint>
#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include "evaluator/corpus/corpus.h"

namespace moebius {

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
  std::int64_t bytes() const;  // of all documents; reads everything
  // Error(BadInput) naming file, line and reason for bad JSONL, and when a file changes meanwhile.
  void for_each(const std::function<void(std::string_view document)>& emit) const;

 private:
  std::vector<std::string> files_;
};

// Hands on the lines of `text` without their ends, empty ones left out. A line of more than
// `longest` bytes is cut into pieces of at most that size, between UTF-8 characters: the pieces
// joined are the line.
void for_each_line(std::string_view text, std::size_t longest,
                   const std::function<void(std::string_view line)>& emit);

// Where the next document of a text of `bytes` bytes belongs: the first 90 % are for training, the
// next 5 % for validation, the last 5 % for testing. The document across a mark stays whole and
// belongs before the mark when it has at most 2 % of the text; a longer one is cut at the mark (not
// inside a UTF-8 character), so that a single document is split at 90 % and 95 %.
class Splitter {
 public:
  explicit Splitter(std::int64_t bytes) : total_(bytes) {}
  void place(std::string_view document,
             const std::function<void(Split split, std::string_view piece)>& emit);

 private:
  std::int64_t mark() const;
  std::int64_t total_;
  std::int64_t seen_ = 0;
  int split_ = 0;
};

// Finds the starts of documents in text that comes byte by byte: the first byte of all, and every
// first byte of text after blank lines (two line ends with nothing but carriage returns between).
class BlankLines {
 public:
  // True when `byte` is the first of a document.
  bool starts(char byte) {
    const bool first = first_;
    first_ = false;
    if (byte == '\n') ++line_ends_;
    if (byte == '\n' || byte == '\r') return first;
    const bool after_blank = line_ends_ >= 2 && text_seen_;
    line_ends_ = 0;
    text_seen_ = true;
    return first || after_blank;
  }

 private:
  std::int64_t line_ends_ = 0;  // since the last byte of text
  bool first_ = true, text_seen_ = false;
};

}  // namespace moebius
