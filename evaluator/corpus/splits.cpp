#include "evaluator/corpus/splits.h"

#include <algorithm>
#include <numeric>

#include "space/base/check.h"
#include "space/base/hash.h"

namespace moebius {
namespace {

std::uint64_t order_of(std::int64_t number, std::uint64_t seed) {
  std::array<char, 8> bytes{};
  for (std::size_t i = 0; i < bytes.size(); ++i)
    bytes[i] = static_cast<char>(static_cast<std::uint64_t>(number) >> (8 * i));
  return hash64({bytes.data(), bytes.size()}, seed);
}

// visit(begin, end) for every line of `text` with its end. A last line may go on in the next piece.
template <class Visit>
void each_line(std::string_view text, Visit&& visit) {
  for (std::size_t begin = 0; begin < text.size();) {
    const std::size_t end = std::min(text.find('\n', begin), text.size() - 1) + 1;
    visit(begin, end);
    begin = end;
  }
}

}  // namespace

std::vector<Split> deal_segments(std::int64_t count, std::uint64_t deal, const std::string& path) {
  const std::int64_t held_out = (count + 19) / 20;
  if (count <= 2 * held_out)
    bad_input(path,
              fmt::format("a split would be empty: too few segments, which are whole documents "
                          "(blank lines end one) or, without any, lines of {} bytes or more",
                          kSegmentBytes),
              "at least 3 segments", std::to_string(count));
  std::vector<std::pair<std::uint64_t, std::size_t>> order;
  for (std::int64_t number = 0; number < count; ++number)
    order.emplace_back(order_of(number, deal), static_cast<std::size_t>(number));
  std::sort(order.begin(), order.end());
  std::vector<Split> splits(order.size(), Split::Train);
  for (std::int64_t i = 0; i < 2 * held_out; ++i)
    splits[order[static_cast<std::size_t>(i)].second] =
        i < held_out ? Split::Test : Split::Validation;
  return splits;
}

SplitText::SplitText(const std::string& path, std::uint64_t deal) : path_(path), source_(path) {
  Segmenter by_document, by_line;
  std::int64_t documents = 0;
  bool line_begins = true;
  source_.for_each([&](const Piece& piece) {
    documents += piece.begins ? 1 : 0;
    by_document.place(static_cast<std::int64_t>(piece.text.size()), piece.begins);
    if (documents > 1) return;
    each_line(piece.text, [&](std::size_t begin, std::size_t end) {
      by_line.place(static_cast<std::int64_t>(end - begin), line_begins);
      line_begins = piece.text[end - 1] == '\n';
    });
  });
  has_documents_ = documents > 1;
  splits_ = deal_segments((has_documents_ ? by_document : by_line).count(), deal, path);
}

std::array<std::int64_t, 3> SplitText::segments() const {
  std::array<std::int64_t, 3> counts{};
  for (const Split split : splits_) ++counts[static_cast<std::size_t>(split)];
  return counts;
}

Split SplitText::split_of(std::int64_t segment) const {
  if (segment >= static_cast<std::int64_t>(splits_.size()))
    bad_input(path_, "changed while it was read; try again");
  return splits_[static_cast<std::size_t>(segment)];
}

void SplitText::for_each(const EmitSplit& emit) const {
  Segmenter segmenter;
  has_documents_ ? documents(segmenter, emit) : lines(segmenter, emit);
  if (segmenter.count() != static_cast<std::int64_t>(splits_.size()))
    bad_input(path_, "changed while it was read; try again");
}

void SplitText::documents(Segmenter& segmenter, const EmitSplit& emit) const {
  source_.for_each([&](const Piece& piece) {
    const auto size = static_cast<std::int64_t>(piece.text.size());
    emit(split_of(segmenter.place(size, piece.begins)), piece);
  });
}

void SplitText::lines(Segmenter& segmenter, const EmitSplit& emit) const {
  std::array<std::int64_t, 3> last{};  // segment of each split
  for (std::size_t i = 0; i < splits_.size(); ++i)
    last[static_cast<std::size_t>(splits_[i])] = static_cast<std::int64_t>(i);
  std::array<bool, 3> begun{};
  std::int64_t segment = 0;
  const auto hand_on = [&](std::string_view text, bool closes) {
    const Split split = split_of(segment);
    const auto s = static_cast<std::size_t>(split);
    const bool ends = closes && segment == last[s];
    if (!text.empty() || ends) emit(split, {text, !begun[s], ends});
    begun[s] = true;
  };
  bool line_begins = true;
  source_.for_each([&](const Piece& piece) {
    std::size_t from = 0;
    each_line(piece.text, [&](std::size_t begin, std::size_t end) {
      const std::int64_t number =
          segmenter.place(static_cast<std::int64_t>(end - begin), line_begins);
      line_begins = piece.text[end - 1] == '\n';
      if (number == segment) return;
      hand_on(piece.text.substr(from, begin - from), true);
      segment = number;
      from = begin;
    });
    hand_on(piece.text.substr(from), piece.ends);
  });
}

}  // namespace moebius
