#include <algorithm>
#include <filesystem>

#include "evaluator/corpus/bin_file.h"
#include "evaluator/corpus/corpus_data.h"
#include "evaluator/corpus/documents.h"
#include "space/base/check.h"
#include "space/base/json.h"
#include "space/base/memory.h"

namespace moebius {
namespace {

constexpr std::int64_t kChunk = 1 << 16;
constexpr std::array<const char*, 3> kSplitEnds = {"_train.bin", "_val.bin", "_test.bin"};

// How the tokens of a corpus are to be understood.
struct Meaning {
  std::int64_t vocab = 0;
  std::int32_t end_of_text = -1;  // -1: documents end at blank lines (bytes)
};

// Starts of the documents of one file; checks every token on the way.
std::vector<std::int64_t> document_starts(const Tokens& tokens, const Meaning& meaning,
                                          const std::string& path) {
  std::vector<std::int64_t> starts;
  std::vector<std::int32_t> ids;
  BlankLines lines;
  bool next = true;
  for (std::int64_t at = 0; at < tokens.size(); at += kChunk) {
    ids.resize(static_cast<std::size_t>(std::min(kChunk, tokens.size() - at)));
    tokens.copy(at, static_cast<std::int64_t>(ids.size()), ids.data());
    for (std::size_t i = 0; i < ids.size(); ++i) {
      const std::int64_t position = at + static_cast<std::int64_t>(i);
      if (ids[i] < 0 || ids[i] >= meaning.vocab)
        bad_input(path, "token outside the vocabulary at offset " + std::to_string(position),
                  "0.." + std::to_string(meaning.vocab - 1), std::to_string(ids[i]));
      if (meaning.end_of_text < 0) next = lines.starts(static_cast<char>(ids[i]));
      if (next) starts.push_back(position);
      next = meaning.end_of_text >= 0 && ids[i] == meaning.end_of_text;
    }
  }
  return starts;
}

// Cuts one file at 90 and 95 % by the rule of Splitter.
void cut_by_document(CorpusData& data, std::shared_ptr<const Tokens> tokens,
                     std::vector<std::int64_t> starts) {
  const std::int64_t total = tokens->size();
  std::int64_t begin = 0;
  for (std::size_t s = 0; s < 3; ++s) {
    std::int64_t end = s == 0 ? total - total / 10 : s == 1 ? total - total / 20 : total;
    const auto after = std::lower_bound(starts.begin(), starts.end(), std::max(begin, end));
    const std::int64_t boundary = after == starts.end() ? total : *after;
    const std::int64_t before = after == starts.begin() ? 0 : *std::prev(after);
    if (boundary - before <= total / 50 || end < begin) end = boundary;
    if (end < total && end != boundary) starts.insert(after, end);
    const auto from = std::lower_bound(starts.begin(), starts.end(), begin);
    const auto to = std::lower_bound(starts.begin(), starts.end(), end);
    data.splits[s] = {tokens, begin, end, {from, to}, std::nan("")};
    begin = end;
  }
}

bool exists(const std::string& path) {
  std::error_code error;
  return std::filesystem::exists(path, error);
}

}  // namespace

BinNames::BinNames(const std::string& train_bin) : stem(train_bin) {
  splits[0] = train_bin;
  const std::string_view end = kSplitEnds[0];
  if (!train_bin.ends_with(end)) {
    stem = train_bin.substr(0, train_bin.size() - 4);  // ".bin"
    return;
  }
  stem = train_bin.substr(0, train_bin.size() - end.size());
  splits[1] = stem + kSplitEnds[1];
  splits[2] = stem + kSplitEnds[2];
}

CorpusData read_bin_corpus(const std::string& path) {
  const BinNames names(path);
  const BinHeader header = read_bin_header(path);
  CorpusData data;
  Meaning meaning{header.vocab(), header.end_of_text()};
  Sidecar sidecar;
  const std::string sidecar_path = names.stem + kSidecarEnd;
  if (exists(sidecar_path)) {
    sidecar = read_sidecar(sidecar_path);
    meaning = {sidecar.vocab, sidecar.end_of_text};
    const auto beside = std::filesystem::path(path).parent_path() / sidecar.tokenizer;
    data.tokenizer =
        open_tokenizer(sidecar.tokenizer == "bytes" ? sidecar.tokenizer : beside.string());
  }
  data.vocab = meaning.vocab;
  data.source = path;
  const bool split_files = exists(names.splits[1]);
  data.cut = split_files ? "train and held-out files" : "90 / 5 / 5 % by document";
  const std::int64_t owned_limit = physical_memory() / 4;
  for (std::size_t s = 0; s < 3; ++s) {
    if (names.splits[s].empty() || !exists(names.splits[s]) || (s > 0 && !split_files)) continue;
    if (read_bin_header(names.splits[s]).width != header.width)
      bad_input(names.splits[s], "other token width than " + path);
    auto tokens = std::make_shared<const Tokens>(read_bin(names.splits[s], owned_limit));
    auto starts = document_starts(*tokens, meaning, names.splits[s]);
    if (!split_files) {
      cut_by_document(data, tokens, std::move(starts));
      break;
    }
    const double bytes = data.tokenizer ? sidecar.bytes[s] : std::nan("");
    data.splits[s] = {tokens, 0, tokens->size(), std::move(starts), bytes};
  }
  for (SplitData& split : data.splits)
    if (!split.tokens) split = {data.splits[0].tokens, 0, 0, {}, std::nan("")};
  if (!sidecar.hash.empty() && corpus_hash(data) != sidecar.hash)
    bad_input(sidecar_path, "its hash is not that of the token files; prepare the data again",
              sidecar.hash, corpus_hash(data));
  return data;
}

void write_sidecar(const std::string& path, const Sidecar& sidecar) {
  Json json = {{"format", "moebius.tokens/1"}, {"tokenizer", sidecar.tokenizer},
               {"vocab", sidecar.vocab},       {"end_of_text", sidecar.end_of_text},
               {"hash", sidecar.hash},         {"bytes", sidecar.bytes}};
  write_file(path, json.dump(2) + "\n");
}

Sidecar read_sidecar(const std::string& path) {
  const Json json = load_json(path);
  Problems problems(path);
  Reader reader(json, "", problems);
  reader.format("moebius.tokens/1");
  Sidecar sidecar;
  sidecar.tokenizer = reader.text("tokenizer");
  if (sidecar.tokenizer.find('/') != std::string::npos)
    reader.problem_at("tokenizer", "not a file name", "bytes, or a file in the same directory",
                      sidecar.tokenizer);
  sidecar.vocab = reader.integer("vocab", 1, INT32_MAX);
  sidecar.end_of_text = static_cast<std::int32_t>(reader.integer("end_of_text", -1, INT32_MAX, -1));
  sidecar.hash = reader.text("hash");
  const auto bytes = reader.array("bytes");
  for (std::size_t s = 0; s < 3 && s < bytes.size(); ++s)
    sidecar.bytes[s] = bytes[s].as_number(0, 1e18);
  if (bytes.size() != 3) reader.problem_at("bytes", "one number for each split");
  reader.finish();
  problems.raise();
  return sidecar;
}

}  // namespace moebius
