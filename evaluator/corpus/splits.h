#pragma once
#include <array>
#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "evaluator/corpus/corpus.h"
#include "evaluator/corpus/documents.h"

namespace moebius {

// The rule of splits, in the words of docs/conventions.md: consecutive whole documents make a
// segment; a hash of its number says in which split a segment is; a split's text is its segments in
// the order of the text.

constexpr std::int64_t kSegmentBytes = 8192;

// Gathers units (documents, or the lines of a text without documents) into segments.
class Segmenter {
 public:
  explicit Segmenter(std::int64_t enough = kSegmentBytes) : enough_(enough) {}
  // The number of the segment of the next piece of a unit, from 0. The first piece of a unit opens
  // another segment when the last one has enough.
  std::int64_t place(std::int64_t size, bool begins) {
    if (begins && size_ >= enough_) {
      ++number_;
      size_ = 0;
    }
    size_ += size;
    return number_;
  }
  std::int64_t count() const { return number_ + 1; }

 private:
  std::int64_t enough_, size_ = 0, number_ = 0;
};

// The split of each of `count` segments. Ordered by XXH3-64 of their number (8 bytes,
// little-endian, seed `deal`; of equals the lower number first), the first 5 %, rounded up, are
// test, as many more are validation, the others training. Every corpus has deal 0; another is for
// measuring how much a figure depends on the split. Error(BadInput) naming `path` when a split
// would be empty.
std::vector<Split> deal_segments(std::int64_t count, std::uint64_t deal, const std::string& path);

// A text cut by that rule.
class SplitText {
 public:
  // Reads all of it once, to count. Errors are those of TextSource and deal_segments().
  explicit SplitText(const std::string& path, std::uint64_t deal = 0);
  std::array<std::int64_t, 3> segments() const;  // by Split
  // Hands on the splits' documents in the order of the text. In a text without documents each split
  // is one. Error(BadInput) when the text is not the one that was counted.
  void for_each(const std::function<void(Split split, const Piece& piece)>& emit) const;

 private:
  using EmitSplit = std::function<void(Split, const Piece&)>;
  Split split_of(std::int64_t segment) const;
  void documents(Segmenter& segmenter, const EmitSplit& emit) const;
  void lines(Segmenter& segmenter, const EmitSplit& emit) const;

  std::string path_;
  TextSource source_;
  bool has_documents_ = false;  // more than one
  std::vector<Split> splits_;   // by segment
};

}  // namespace moebius
