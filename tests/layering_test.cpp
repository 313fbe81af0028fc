// The shape of the source tree, as a test: rooms point one way, third-party headers stay in their
// places, files stay small, and a plug-in is one file and one line of its list.

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <filesystem>
#include <fstream>
#include <map>
#include <regex>
#include <set>
#include <string>
#include <string_view>
#include <vector>

namespace {

namespace fs = std::filesystem;
using testing::IsEmpty;
using testing::SizeIs;

using Lines = std::vector<std::string>;

// In dependency order: a room includes itself and the rooms before it.
constexpr std::array<std::string_view, 4> kRooms = {"space", "model", "evaluator", "search"};

// Sub-rooms of a room in dependency order (DESIGN 1); those of one line do not include each other.
// "" is the room's own files.
using SubRooms = std::vector<std::vector<std::string>>;
const std::map<std::string, SubRooms>& sub_rooms() {
  static const std::map<std::string, SubRooms> kSubRooms = {
      {"space", {{"base"}, {""}}},
      {"evaluator", {{"corpus"}, {"training"}, {""}, {"evaluators"}}},
      {"search",
       {{"results"},
        {"samplers", "stoppers"},
        {"study"},
        {"scaling"},
        {"exporters", "report"},
        {"commands"}}}};
  return kSubRooms;
}

struct Place {
  std::string_view header;              // prefix of what is between <>
  std::vector<std::string_view> files;  // prefixes of the paths that may include it
};

const std::vector<Place>& places() {
  static const std::vector<Place> kPlaces = {
      {"nlohmann/", {"space/"}},
      {"fmt/", {"space/"}},
      {"Random123/", {"space/"}},
      {"xxhash.h", {"space/"}},
      {"tbb/", {"model/backends/", "search/study/worker_pool.cpp", "search/scaling/laws"}},
      {"oneapi/tbb/", {"model/backends/", "search/study/worker_pool.cpp", "search/scaling/laws"}},
      {"hwy/", {"model/backends/"}},
      {"immintrin.h", {"model/backends/cpu/amx"}},
      {"Eigen/", {"model/backends/", "search/"}},
      {"zstd.h", {"model/checkpoint.cpp"}},
      {"sentencepiece", {"evaluator/corpus/tokenizer.cpp"}},
      {"SQLiteCpp/", {"search/results/dbs/"}},
      {"sqlite3.h", {"search/results/dbs/"}},
      {"CLI/", {"search/commands/args.cpp"}},
      {"lbfgs.h", {"search/scaling/laws"}},
  };
  return kPlaces;
}

bool starts_with_any(std::string_view text, const std::vector<std::string_view>& prefixes) {
  return std::any_of(prefixes.begin(), prefixes.end(),
                     [&](std::string_view prefix) { return text.starts_with(prefix); });
}

std::string room_of(const std::string& path) { return path.substr(0, path.find('/')); }

std::size_t rank_of(const std::string& room) {
  return static_cast<std::size_t>(std::find(kRooms.begin(), kRooms.end(), room) - kRooms.begin());
}

// Of the C++ library or the system: no project to depend on.
bool is_system_header(const std::string& name) {
  if (name.find_first_of("./") == std::string::npos || name.starts_with("sys/")) return true;
  static const std::set<std::string> kPosix = {"fcntl.h", "unistd.h",  "signal.h", "spawn.h",
                                               "poll.h",  "pthread.h", "sched.h",  "dirent.h",
                                               "time.h",  "pwd.h",     "dlfcn.h"};
  return kPosix.contains(name);
}

std::string why_bad_system_include(const std::string& path, const std::string& name) {
  for (const Place& place : places()) {
    if (!name.starts_with(place.header)) continue;
    return starts_with_any(path, place.files) ? "" : path + " includes <" + name + ">";
  }
  return is_system_header(name) ? "" : path + " includes <" + name + ">, which has no place";
}

std::string sub_room_of(const std::string& path) {
  const std::size_t first = path.find('/'), second = path.find('/', first + 1);
  return second == std::string::npos ? "" : path.substr(first + 1, second - first - 1);
}

// "" or why a file of a room with sub-rooms does not include another of the same room. A list of
// plug-ins includes nothing and may be read from anywhere.
std::string why_bad_sub_room(const std::string& path, const std::string& name) {
  const auto rooms = sub_rooms().find(room_of(path));
  if (rooms == sub_rooms().end() || room_of(name) != room_of(path) || name.ends_with(".def"))
    return "";
  const auto level = [&](const std::string& file) {
    const auto holds = [&](const std::vector<std::string>& names) {
      return std::find(names.begin(), names.end(), sub_room_of(file)) != names.end();
    };
    return std::find_if(rooms->second.begin(), rooms->second.end(), holds);
  };
  const auto from = level(path), to = level(name);
  if (from == rooms->second.end()) return path + " lies in no sub-room of DESIGN 1";
  if (to < from || sub_room_of(path) == sub_room_of(name)) return "";
  return path + " includes \"" + name + "\": the arrow between sub-rooms points the other way";
}

std::string why_bad_project_include(const std::string& path, const std::string& name) {
  if (rank_of(room_of(name)) == kRooms.size())
    return path + " includes \"" + name + "\", which is not relative to the root";
  if (rank_of(room_of(name)) > rank_of(room_of(path)))
    return path + " includes \"" + name + "\": the arrow points the other way";
  return why_bad_sub_room(path, name);
}

Lines bad_includes(const std::string& path, const Lines& lines) {
  static const std::regex kInclude(R"(^\s*#\s*include\s*([<"])([^>"]+)[>"].*)");
  Lines bad;
  std::smatch match;
  for (const std::string& line : lines) {
    if (!std::regex_match(line, match, kInclude)) continue;
    const std::string why = match[1] == "<" ? why_bad_system_include(path, match[2])
                                            : why_bad_project_include(path, match[2]);
    if (!why.empty()) bad.push_back(why);
  }
  return bad;
}

// Lines with code of x86-64 outside its files: another architecture does not compile it.
Lines bad_instructions(const std::string& path, const Lines& lines) {
  static const std::regex kX86(R"(.*\b(_mm\d*_|_tile_|__m\d|__builtin_(cpu|ia32)_|asm\b).*)");
  if (starts_with_any(path, {"model/backends/cpu/amx", "model/backends/cpu/avx512-inl.h",
                             "model/backends/cpu/processor_x86.cpp"}))
    return {};
  Lines bad;
  for (const std::string& line : lines)
    if (std::regex_match(line, kX86)) bad.push_back(path + ": " + line);
  return bad;
}

std::string why_too_long(const std::string& path, std::size_t lines) {
  // NAME-inl.h is code, compiled once per instruction set.
  const bool header =
      path.ends_with(".h") && !path.ends_with("-inl.h") && rank_of(room_of(path)) < kRooms.size();
  const std::size_t limit = header ? 120 : 400;
  if (lines <= limit) return "";
  return path + " has " + std::to_string(lines) + " lines; at most " + std::to_string(limit);
}

// Names of PLUGIN(name) lines.
std::set<std::string> listed(const Lines& def) {
  static const std::regex kPlugin(R"(^PLUGIN\(([a-z0-9_]+)\).*)");
  std::set<std::string> names;
  std::smatch match;
  for (const std::string& line : def)
    if (std::regex_match(line, match, kPlugin)) names.insert(match[1]);
  return names;
}

// A plug-in's source defines its factory, "LayerPlugin layers_ffn()" or "Command top_command()";
// other sources in the folder help their neighbours.
bool defines_factory(const std::string& name, const Lines& source) {
  const std::regex factory("^([A-Za-z]*Plugin|Command) ([a-z]+_" + name + "|" + name +
                           "_[a-z]+)\\(\\) \\{.*");
  return std::any_of(source.begin(), source.end(),
                     [&](const std::string& line) { return std::regex_match(line, factory); });
}

Lines bad_plugins(const std::set<std::string>& names, const std::map<std::string, Lines>& files) {
  Lines bad;
  for (const std::string& name : names) {
    if (!files.contains(name + ".cpp")) bad.push_back(name + " is listed and has no source");
    if (files.contains(name + ".h")) bad.push_back(name + " is a plug-in and has a header");
  }
  for (const auto& [file, lines] : files) {
    if (!file.ends_with(".cpp")) continue;
    const std::string name = file.substr(0, file.size() - 4);
    if (names.contains(name) != defines_factory(name, lines))
      bad.push_back(file + (names.contains(name) ? " has no factory" : " is not in the list"));
  }
  return bad;
}

Lines read(const fs::path& path) {
  std::ifstream file(path);
  Lines lines;
  for (std::string line; std::getline(file, line);) lines.push_back(line);
  return lines;
}

const fs::path kRoot = MOEBIUS_SOURCE_DIR;

// Sources and headers below DIRECTORY, relative to the root.
Lines sources(std::string_view directory) {
  Lines paths;
  for (const auto& entry : fs::recursive_directory_iterator(kRoot / directory)) {
    const std::string path = fs::relative(entry.path(), kRoot).generic_string();
    if (path.ends_with(".h") || path.ends_with(".cpp")) paths.push_back(path);
  }
  std::sort(paths.begin(), paths.end());
  return paths;
}

TEST(Layering, IncludesPointOneWayAndThirdPartyHeadersStayInTheirPlaces) {
  for (const std::string_view room : kRooms)
    for (const std::string& path : sources(room))
      EXPECT_THAT(bad_includes(path, read(kRoot / path)), IsEmpty());
}

TEST(Layering, CodeOfOneArchitectureHasFilesOfItsOwn) {
  for (const std::string_view room : kRooms)
    for (const std::string& path : sources(room))
      EXPECT_THAT(bad_instructions(path, read(kRoot / path)), IsEmpty());
}

// Tests run beside each other, also the same one as another processor; a compiler cache may make
// __FILE__ relative (tests/support/places.h).
TEST(Layering, TestsWriteOnlyToFoldersOfTheirOwn) {
  const std::regex shared_place(R"(.*(TempDir\(\)|temp_directory_path|__FILE__).*)");
  for (const std::string& path : sources("tests")) {
    if (path == "tests/support/folder.h" || path == "tests/layering_test.cpp") continue;
    for (const std::string& line : read(kRoot / path))
      EXPECT_FALSE(std::regex_match(line, shared_place)) << path << ": " << line;
  }
}

TEST(Layering, FilesAreSmall) {
  for (const std::string_view directory :
       {"space", "model", "evaluator", "search", "tests", "bench"})
    for (const std::string& path : sources(directory))
      EXPECT_EQ(why_too_long(path, read(kRoot / path).size()), "");
}

TEST(Layering, EveryRoomHasAReadmeOfAScreen) {
  for (const char* room : {"space", "model", "evaluator", "search", "search/results",
                           "search/study", "search/commands", "tests", "bench"}) {
    const std::size_t lines = read(kRoot / room / "README.md").size();
    EXPECT_GE(lines, 10U) << room;
    EXPECT_LE(lines, 50U) << room;
  }
}

TEST(Layering, PlugInsAreOneSourceAndOneLine) {
  std::size_t lists = 0;
  for (const std::string_view room : kRooms)
    for (const auto& entry : fs::recursive_directory_iterator(kRoot / room)) {
      if (entry.path().extension() != ".def") continue;
      ++lists;
      std::map<std::string, Lines> files;
      for (const auto& file : fs::directory_iterator(fs::path(entry.path()).replace_extension("")))
        files[file.path().filename().string()] = read(file.path());
      EXPECT_THAT(bad_plugins(listed(read(entry.path())), files), IsEmpty()) << entry.path();
    }
  EXPECT_GE(lists, 9U);
}

TEST(Layering, FindsIncludesThatAreOutOfPlace) {
  EXPECT_THAT(bad_includes("space/a.cpp", {"#include \"model/layer.h\""}), SizeIs(1));
  EXPECT_THAT(bad_includes("evaluator/a.h", {"  # include \"search/study/study.h\"  // why"}),
              SizeIs(1));
  EXPECT_THAT(bad_includes("model/layers/a.cpp", {"#include \"layer.h\""}), SizeIs(1));
  EXPECT_THAT(bad_includes("model/a.cpp", {"#include <tbb/parallel_for.h>"}), SizeIs(1));
  EXPECT_THAT(bad_includes("search/study/study.cpp", {"#include <sqlite3.h>"}), SizeIs(1));
  EXPECT_THAT(bad_includes("space/a.cpp", {"#include <boost/any.hpp>"}), SizeIs(1));
  EXPECT_THAT(bad_includes("search/a.cpp", {"#include \"model/layer.h\"", "#include <vector>",
                                            "#include <sys/stat.h>", "#include <Eigen/Dense>"}),
              IsEmpty());
}

TEST(Layering, FindsIncludesBetweenSubRoomsThatPointBack) {
  const auto why = [](const char* path, const char* name) {
    return why_bad_project_include(path, name);
  };
  EXPECT_EQ(why("search/study/study.cpp", "search/results/history.h"), "");
  EXPECT_EQ(why("search/study/study.cpp", "search/study/draft.h"), "");
  EXPECT_EQ(why("search/results/history.h", "evaluator/training/outcome.h"), "");
  EXPECT_NE(why("search/results/history.h", "search/study/study.h"), "");
  EXPECT_NE(why("search/samplers/random.cpp", "search/stoppers/quarter.h"), "");
  EXPECT_NE(why("evaluator/training/trainer.h", "evaluator/evaluator.h"), "");
  EXPECT_NE(why("search/loose.cpp", "search/results/history.h"), "");
  EXPECT_NE(why("space/base/json.h", "space/spec.h"), "");
}

TEST(Layering, FindsCodeOfOneArchitecture) {
  for (const std::string line :
       {"  const Vec r{_mm512_reduce_ps(x.raw, 9)};", "__m512 v;", "_tile_zero(0);",
        "if (__builtin_cpu_supports(\"avx2\")) {", "  asm volatile(\"nop\");"}) {
    EXPECT_THAT(bad_instructions("model/backends/cpu/norm.cpp", {line}), SizeIs(1)) << line;
    EXPECT_THAT(bad_instructions("model/backends/cpu/amx_blocks.cpp", {line}), IsEmpty());
  }
  EXPECT_THAT(bad_instructions("model/a.cpp", {"my_mm_(x);", "__builtin_prefetch(row);"}),
              IsEmpty());
}

TEST(Layering, FindsFilesThatAreTooLong) {
  EXPECT_NE(why_too_long("space/spec.h", 121), "");
  EXPECT_EQ(why_too_long("space/spec.h", 120), "");
  EXPECT_NE(why_too_long("search/study/study.cpp", 401), "");
}

TEST(Layering, FindsPlugInsThatAreNotListed) {
  EXPECT_EQ(listed({"// PLUGIN(x)", "PLUGIN(top2)  // two", "PLUGIN(a)"}),
            (std::set<std::string>{"a", "top2"}));
  const Lines a = {"LayerPlugin layers_a() {"}, b = {"Command b_command() { return {}; }"};
  EXPECT_THAT(bad_plugins({"a", "b"}, {{"a.cpp", a}, {"b.cpp", b}, {"help.cpp", {}}}), IsEmpty());
  EXPECT_THAT(bad_plugins({"a"}, {{"a.cpp", a}, {"b.cpp", b}}), SizeIs(1));
  EXPECT_THAT(bad_plugins({"a"}, {{"a.cpp", {}}}), SizeIs(1));
  EXPECT_THAT(bad_plugins({"a"}, {{"a.cpp", a}, {"a.h", {}}}), SizeIs(1));
  EXPECT_THAT(bad_plugins({"a"}, {}), SizeIs(1));
}

}  // namespace
