#include "evaluator/corpus/corpus.h"

#include <algorithm>
#include <map>

#include "evaluator/corpus/corpus_data.h"
#include "evaluator/corpus/generator.h"
#include "space/base/check.h"
#include "space/base/hash.h"
#include "space/base/rng.h"
#include "space/base/units.h"

namespace moebius {
namespace {

// Ranges that do not meet: what the rows of a batch have taken.
class Claims {
 public:
  bool free(std::int64_t first, std::int64_t last) const {
    const auto after = taken_.upper_bound(last);
    return after == taken_.begin() || std::prev(after)->second < first;
  }
  void take(std::int64_t first, std::int64_t last) {
    auto after = taken_.upper_bound(last);
    while (after != taken_.begin() && std::prev(after)->second >= first) {
      --after;
      first = std::min(first, after->first);
      last = std::max(last, after->second);
      after = taken_.erase(after);
    }
    taken_.emplace(first, last);
  }

 private:
  std::map<std::int64_t, std::int64_t> taken_;  // first -> last, disjoint
};

class WindowCorpus : public Corpus {
 public:
  explicit WindowCorpus(CorpusData data) : data_(std::move(data)), hash_(corpus_hash(data_)) {}

  std::int64_t vocab() const override { return data_.vocab; }
  std::int64_t size(Split split) const override { return data_[split].tokens->size(); }
  double bytes_per_token(Split split) const override {
    return data_[split].bytes / static_cast<double>(size(split));
  }
  std::int64_t documents(Split split) const override {
    return static_cast<std::int64_t>(data_[split].starts.size());
  }
  std::int64_t segments(Split split) const override { return data_[split].segments; }
  std::vector<std::int64_t> counts(Split split) const override;
  std::string hash() const override { return hash_; }
  std::shared_ptr<const Tokenizer> tokenizer() const override { return data_.tokenizer; }
  std::string describe() const override;
  void train_batch(std::uint64_t seed, std::int64_t t, std::int64_t batch, std::int64_t seq,
                   TokenWindows& out) const override;
  std::int64_t batches(Split split, std::int64_t batch, std::int64_t seq) const override {
    return windows(split, seq) / batch;
  }
  void fixed_batch(Split split, std::int64_t i, std::int64_t batch, std::int64_t seq,
                   TokenWindows& out) const override;
  double floor(Split split, std::int64_t batch, std::int64_t seq,
               std::int64_t batches) const override;

 private:
  std::int64_t windows(Split split, std::int64_t seq) const {
    return std::max<std::int64_t>(0, (size(split) - 1) / seq);
  }
  std::int64_t draw_start(std::uint64_t key, std::int64_t row, std::int64_t batch, std::int64_t seq,
                          Claims& documents, Claims& tokens) const;
  // Row r of `out` becomes the S + 1 tokens from `begin`.
  void put(const SplitData& split, std::int64_t begin, std::int64_t row, std::int64_t seq,
           TokenWindows& out) const;

  CorpusData data_;
  std::string hash_;
};

std::vector<std::int64_t> WindowCorpus::counts(Split split) const {
  std::vector<std::int64_t> result(static_cast<std::size_t>(vocab()));
  for_each_chunk(*data_[split].tokens, [&](std::span<const std::int32_t> ids) {
    for (const std::int32_t id : ids) ++result[static_cast<std::size_t>(id)];
  });
  return result;
}

std::string WindowCorpus::describe() const {
  std::string line = data_.source + ": ";
  for (const Split split : {Split::Train, Split::Validation, Split::Test})
    line += count_text(static_cast<double>(size(split))) + " " + split_text(split) + ", ";
  const std::int64_t all =
      documents(Split::Train) + documents(Split::Validation) + documents(Split::Test);
  return line + "tokens of " +
         (data_.tokenizer ? data_.tokenizer->source() : "a foreign tokenizer") + " (V " +
         std::to_string(vocab()) + "), " + std::to_string(all) + " documents, " + data_.cut;
}

std::int64_t WindowCorpus::draw_start(std::uint64_t key, std::int64_t row, std::int64_t batch,
                                      std::int64_t seq, Claims& documents, Claims& tokens) const {
  constexpr std::uint64_t kDraws = 64;
  const SplitData& train = data_[Split::Train];
  const auto document = [&](std::int64_t position) {
    return std::upper_bound(train.starts.begin(), train.starts.end(), position) -
           train.starts.begin() - 1;
  };
  const auto places = static_cast<std::uint64_t>(size(Split::Train) - seq);
  const bool by_document = this->documents(Split::Train) >= 4 * batch;
  std::int64_t start = 0;
  for (std::uint64_t draw = 0; draw < kDraws; ++draw) {
    const auto bits = philox(key, static_cast<std::uint64_t>(row), draw);
    const std::uint64_t word = (std::uint64_t{bits[1]} << 32) | bits[0];
    start = static_cast<std::int64_t>(word % places);
    const bool documents_free = !by_document || draw >= kDraws / 2 ||
                                documents.free(document(start), document(start + seq));
    if (documents_free && tokens.free(start, start + seq)) break;
  }
  documents.take(document(start), document(start + seq));
  tokens.take(start, start + seq);
  return start;
}

void WindowCorpus::put(const SplitData& split, std::int64_t begin, std::int64_t row,
                       std::int64_t seq, TokenWindows& out) const {
  split.tokens->copy(begin, seq, out.tokens.data() + row * seq);
  split.tokens->copy(begin + 1, seq, out.targets.data() + row * seq);
}

void WindowCorpus::train_batch(std::uint64_t seed, std::int64_t t, std::int64_t batch,
                               std::int64_t seq, TokenWindows& out) const {
  MOEBIUS_CHECK(size(Split::Train) > seq, "[corpus] {} training tokens for a window of {} + 1",
                size(Split::Train), seq);
  out.tokens.resize(static_cast<std::size_t>(batch * seq));
  out.targets.resize(out.tokens.size());
  const std::uint64_t key = derive_key(seed, "batch", static_cast<std::uint64_t>(t));
  Claims documents, tokens;
  for (std::int64_t row = 0; row < batch; ++row)
    put(data_[Split::Train], draw_start(key, row, batch, seq, documents, tokens), row, seq, out);
}

void WindowCorpus::fixed_batch(Split split, std::int64_t i, std::int64_t batch, std::int64_t seq,
                               TokenWindows& out) const {
  const std::int64_t n = batches(split, batch, seq);
  MOEBIUS_CHECK(i >= 0 && i < n, "[corpus] fixed batch {} of {}", i, n);
  out.tokens.resize(static_cast<std::size_t>(batch * seq));
  out.targets.resize(out.tokens.size());
  for (std::int64_t row = 0; row < batch; ++row)
    put(data_[split], (i + row * n) * seq, row, seq, out);
}

double WindowCorpus::floor(Split split, std::int64_t batch, std::int64_t seq,
                           std::int64_t count) const {
  if (!data_.generated) return std::nan("");
  const SplitData& part = data_[split];
  std::vector<double> surprise(static_cast<std::size_t>(size(split)));  // -log p of each token
  GeneratorState state;
  for (std::int64_t i = 0; i < size(split); ++i) {
    if (state.ended()) state = GeneratorState();
    const std::int32_t token = (*part.tokens)[i];
    surprise[static_cast<std::size_t>(i)] = -std::log(state.probability(token));
    state.push(token);
  }
  const std::int64_t n = batches(split, batch, seq);
  double sum = 0;
  for (std::int64_t row = 0; row < batch; ++row)
    for (std::int64_t i = 0; i < count; ++i)
      for (std::int64_t s = 1; s <= seq; ++s)
        sum += surprise[static_cast<std::size_t>((i + row * n) * seq + s)];
  return sum / static_cast<double>(batch * count * seq);
}

}  // namespace

std::string split_text(Split split) {
  return split == Split::Train ? "train" : split == Split::Validation ? "validation" : "test";
}

std::string corpus_hash(const CorpusData& data) {
  Hasher hasher;
  const auto add_numbers = [&](std::initializer_list<std::int64_t> numbers) {
    for (const std::int64_t number : numbers) hasher.add(&number, sizeof(number));
  };
  for (const SplitData& split : data.splits) {
    add_numbers({split.tokens->size(), static_cast<std::int64_t>(split.starts.size())});
    for_each_chunk(*split.tokens, [&](std::span<const std::int32_t> ids) {
      hasher.add(ids.data(), ids.size_bytes());
    });
    for (const std::int64_t start : split.starts) add_numbers({start});
  }
  const std::string identity = data.tokenizer ? data.tokenizer->identity() : "";
  add_numbers({data.vocab});
  hasher.add(identity.data(), identity.size());
  return hasher.hex();
}

std::shared_ptr<const Corpus> Corpus::open(const std::string& source,
                                           const std::string& tokenizer) {
  const bool tokenized = source == "builtin" || source.ends_with(".bin");
  if (tokenized && !tokenizer.empty() && tokenizer != "bytes")
    bad_input("--tokenizer", "this corpus is tokenized already", "none", tokenizer);
  if (source == "builtin") return std::make_shared<WindowCorpus>(generate_corpus());
  if (tokenized) return std::make_shared<WindowCorpus>(read_bin_corpus(source));
  return std::make_shared<WindowCorpus>(read_text_corpus(source, tokenizer));
}

void check_windows(const Corpus& corpus, Split split, std::int64_t batch, std::int64_t seq) {
  const std::int64_t needed = split == Split::Train ? seq + 1 : batch * seq + 1;
  if (corpus.size(split) >= needed) return;
  const std::string why = split == Split::Train
                              ? fmt::format("one window of S + 1 = {} + 1", seq)
                              : fmt::format("one batch of B x S + 1 = {} x {} + 1", batch, seq);
  bad_input("corpus", fmt::format("the {} split is too small for {}", split_text(split), why),
            fmt::format("at least {} tokens", needed),
            fmt::format("{} tokens", corpus.size(split)));
}

}  // namespace moebius
