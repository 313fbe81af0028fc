#include "evaluator/corpus/documents.h"

#include <sys/stat.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <filesystem>
#include <fstream>

#include "space/base/check.h"
#include "space/base/json.h"

namespace moebius {
namespace {

constexpr std::size_t kBlock = 1 << 20;     // bytes per read
constexpr std::size_t kLongest = 64 << 20;  // bytes of a piece

using EmitPiece = std::function<void(const Piece&)>;

// Size and time of a file, to notice that it was changed while we read it.
struct Identity {
  explicit Identity(const std::string& path) {
    struct stat status {};
    if (stat(path.c_str(), &status) != 0)
      bad_input(path, std::string("cannot be read: ") + std::strerror(errno));
    if (!S_ISREG(status.st_mode)) bad_input(path, "not a regular file");
    size = status.st_size;
    seconds = status.st_mtim.tv_sec;
    nanoseconds = status.st_mtim.tv_nsec;
  }
  bool operator==(const Identity&) const = default;
  std::int64_t size, seconds, nanoseconds;
};

void text_documents(const std::string& path, std::ifstream& file, const EmitPiece& emit) {
  std::string block(kBlock, '\0'), text;
  BlankLines lines;
  std::size_t begin = 0;  // of what is not handed on yet, in `text`
  bool begins = true;
  const auto hand_on = [&](std::size_t end, bool ends) {
    if (end > begin || !begins) emit({{text.data() + begin, end - begin}, begins, ends});
    begin = end;
    begins = ends;
  };
  while (file.read(block.data(), static_cast<std::streamsize>(kBlock)), file.gcount() > 0) {
    text.erase(0, begin);
    begin = 0;
    std::size_t i = text.size();
    text.append(block, 0, static_cast<std::size_t>(file.gcount()));
    for (; i < text.size(); ++i) {
      if (lines.starts(text[i])) {
        // The first bytes of the line may be in a piece that was handed on already.
        const auto back = static_cast<std::size_t>(lines.back());
        hand_on(i - std::min(back, i - begin), true);
      } else if (i - begin >= kLongest) {
        hand_on(i, false);
      }
    }
  }
  if (file.bad()) bad_input(path, std::string("cannot be read: ") + std::strerror(errno));
  hand_on(text.size(), true);
}

void json_documents(const std::string& path, std::ifstream& file, const EmitPiece& emit) {
  std::string line;
  for (std::int64_t number = 1; std::getline(file, line); ++number) {
    if (line.find_first_not_of(" \t\r") == std::string::npos) continue;
    const std::string where = path + ":" + std::to_string(number);
    const Json object = Json::parse(line, nullptr, false);
    if (object.is_discarded()) bad_input(where, "not a JSON value");
    if (!object.is_object()) bad_input(where, "not an object", "{\"text\": ..}", describe(object));
    const auto text = object.find("text");
    if (text == object.end()) bad_input(where + ":/text", "missing key \"text\"");
    if (!text->is_string()) bad_input(where + ":/text", "not a string", "", describe(*text));
    const std::string document = text->get_ref<const std::string&>() + "\n\n";
    emit({document});
  }
  if (file.bad()) bad_input(path, std::string("cannot be read: ") + std::strerror(errno));
}

std::vector<std::string> files_below(const std::string& directory) {
  namespace fs = std::filesystem;
  std::vector<std::string> files;
  for (auto entry = fs::recursive_directory_iterator(directory);
       entry != fs::recursive_directory_iterator(); ++entry) {
    if (entry->path().filename().native().starts_with('.')) {
      entry.disable_recursion_pending();
      continue;
    }
    if (!entry->is_regular_file()) continue;
    if (entry->path().extension() == ".bin")
      bad_input(directory, "holds tokens; give the .bin file itself",
                "a directory of text or JSONL", entry->path().filename().string());
    files.push_back(entry->path().string());
  }
  std::sort(files.begin(), files.end());
  return files;
}

}  // namespace

TextSource::TextSource(const std::string& path) {
  std::error_code error;
  if (!std::filesystem::is_directory(path, error)) {
    files_ = {path};
    if (Identity(path).size == 0) bad_input(path, "empty file");
    return;
  }
  try {
    files_ = files_below(path);
  } catch (const std::filesystem::filesystem_error& trouble) {
    bad_input(path, "cannot be read: " + trouble.code().message());
  }
  if (files_.empty()) bad_input(path, "no files in this directory");
}

void TextSource::for_each(const EmitPiece& emit) const {
  for (const std::string& path : files_) {
    const Identity before(path);
    std::ifstream file(path, std::ios::binary);
    if (!file) bad_input(path, std::string("cannot be read: ") + std::strerror(errno));
    path.ends_with(".jsonl") ? json_documents(path, file, emit) : text_documents(path, file, emit);
    if (!(Identity(path) == before)) bad_input(path, "changed while it was read; try again");
  }
}

void for_each_line(std::string_view text, std::size_t longest,
                   const std::function<void(std::string_view line)>& emit) {
  const auto continuation = [&](std::size_t i) { return (text[i] & '\xC0') == '\x80'; };
  while (!text.empty()) {
    std::size_t end = std::min(text.find('\n'), text.size());
    const bool whole = end <= longest;
    if (!whole) {
      end = longest;
      for (int i = 0; i < 3 && end > 1 && continuation(end); ++i) --end;
      if (continuation(end)) end = longest;  // not UTF-8: any place is as good
    }
    if (end > 0) emit(text.substr(0, end));
    text.remove_prefix(whole && end < text.size() ? end + 1 : end);
  }
}

}  // namespace moebius
