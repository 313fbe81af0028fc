#include <algorithm>
#include <filesystem>

#include "evaluator/corpus/bin_file.h"
#include "evaluator/corpus/corpus_data.h"
#include "evaluator/corpus/splits.h"
#include "space/base/check.h"
#include "space/base/json.h"
#include "space/base/memory.h"

namespace moebius {
namespace {

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
  BlankLines lines;
  bool next = true;
  std::int64_t position = 0;
  for_each_chunk(tokens, [&](std::span<const std::int32_t> ids) {
    for (const std::int32_t id : ids) {
      if (id < 0 || id >= meaning.vocab)
        bad_input(path, "token outside the vocabulary at offset " + std::to_string(position),
                  "0.." + std::to_string(meaning.vocab - 1), std::to_string(id));
      if (meaning.end_of_text < 0) next = lines.starts(static_cast<char>(id));
      if (next) starts.push_back(meaning.end_of_text < 0 ? position - lines.back() : position);
      next = meaning.end_of_text >= 0 && id == meaning.end_of_text;
      ++position;
    }
  });
  return starts;
}

// About 8 KiB of text; as many tokens as bytes where tokens are bytes.
std::int64_t segment_tokens(const Meaning& meaning) {
  return meaning.vocab == 256 ? kSegmentBytes : kSegmentBytes / 4;
}

// Cuts one file by the rule of text, its documents counted in tokens; without documents, every so
// many tokens.
void cut_by_segment(CorpusData& data, std::shared_ptr<const Tokens> tokens,
                    std::vector<std::int64_t> starts, std::int64_t enough) {
  const bool has_documents = starts.size() > 1;
  if (!has_documents)
    for (std::int64_t at = enough; at < tokens->size(); at += enough) starts.push_back(at);
  starts.push_back(tokens->size());
  Segmenter segmenter(enough);
  std::vector<std::int64_t> segments;  // of each unit
  for (std::size_t i = 0; i + 1 < starts.size(); ++i)
    segments.push_back(segmenter.place(starts[i + 1] - starts[i], true));
  const std::vector<Split> splits = deal_segments(segmenter.count(), 0, data.source);
  for (const Split split : splits) ++data[split].segments;
  std::array<std::vector<std::pair<std::int64_t, std::int64_t>>, 3> ranges;
  std::array<std::int64_t, 3> sizes{};
  for (std::size_t i = 0; i + 1 < starts.size(); ++i) {
    const auto s = static_cast<std::size_t>(splits[static_cast<std::size_t>(segments[i])]);
    if (has_documents || sizes[s] == 0) data.splits[s].starts.push_back(sizes[s]);
    sizes[s] += starts[i + 1] - starts[i];
    if (!ranges[s].empty() && ranges[s].back().second == starts[i])
      ranges[s].back().second = starts[i + 1];
    else
      ranges[s].emplace_back(starts[i], starts[i + 1]);
  }
  for (std::size_t s = 0; s < 3; ++s)
    data.splits[s].tokens = std::make_shared<const Tokens>(Tokens::parts(tokens, ranges[s]));
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
  data.cut = split_files ? "train and held-out files" : "90 / 5 / 5 % by segments of documents";
  if (sidecar.deal != 0) data.cut += fmt::format(" of deal {}", sidecar.deal);
  const std::int64_t owned_limit = physical_memory() / 4;
  for (std::size_t s = 0; s < 3; ++s) {
    if (names.splits[s].empty() || !exists(names.splits[s]) || (s > 0 && !split_files)) continue;
    if (read_bin_header(names.splits[s]).width != header.width)
      bad_input(names.splits[s], "other token width than " + path);
    auto tokens = std::make_shared<const Tokens>(read_bin(names.splits[s], owned_limit));
    auto starts = document_starts(*tokens, meaning, names.splits[s]);
    if (!split_files) {
      cut_by_segment(data, tokens, std::move(starts), segment_tokens(meaning));
      break;
    }
    const double bytes = data.tokenizer ? sidecar.bytes[s] : std::nan("");
    data.splits[s] = {tokens, std::move(starts), bytes, sidecar.segments[s]};
  }
  for (SplitData& split : data.splits)
    if (!split.tokens) split.tokens = std::make_shared<const Tokens>(header.width);
  if (!sidecar.hash.empty() && corpus_hash(data) != sidecar.hash)
    bad_input(sidecar_path, "its hash is not that of the token files; prepare the data again",
              sidecar.hash, corpus_hash(data));
  return data;
}

void write_sidecar(const std::string& path, const Sidecar& sidecar) {
  Json json = {{"format", "moebius.tokens/1"}, {"tokenizer", sidecar.tokenizer},
               {"vocab", sidecar.vocab},       {"end_of_text", sidecar.end_of_text},
               {"hash", sidecar.hash},         {"bytes", sidecar.bytes},
               {"segments", sidecar.segments}, {"deal", sidecar.deal}};
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
  // Releases whose splits were consecutive wrote neither.
  if (json.contains("segments")) {
    const auto segments = reader.array("segments");
    for (std::size_t s = 0; s < 3 && s < segments.size(); ++s)
      sidecar.segments[s] = segments[s].as_integer(0, INT64_MAX);
  }
  sidecar.deal = reader.integer("deal", 0, INT64_MAX, 0);
  reader.finish();
  problems.raise();
  return sidecar;
}

}  // namespace moebius
