// No source but a plug-in's own knows the name of a layer, a gating or a field: a new one is one
// file and one line.

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <set>

#include "tests/support/catalog.h"

namespace moebius {
namespace {

namespace fs = std::filesystem;
using ::testing::ElementsAre;
using ::testing::IsEmpty;

const fs::path kRoot = MOEBIUS_SOURCE_DIR;

// Places where such a word means something else.
struct Allowed {
  std::string path, word, reason;
};
const std::vector<Allowed> kAllowed = {
    {"space/scale.cpp", "experts", "column E of the scale table"},
    {"space/scale.cpp", "head_dim", "column K of the scale table"},
    {"model/catalog.h", "gating", "what a kind of plug-in is called in messages"},
    {"search/results/dbs/fields.cpp", "position", "a column of its own of the view of sub-layers"},
};

bool allowed(const std::string& path, const std::string& word) {
  return std::any_of(kAllowed.begin(), kAllowed.end(),
                     [&](const Allowed& each) { return each.path == path && each.word == word; });
}

// Layers, gatings and fields of the built-in catalog.
std::set<std::string> names_of(const Catalog& catalog) {
  std::set<std::string> names;
  for (const auto& [name, gating] : catalog.gatings) names.insert(name);
  for (const auto& [name, type] : catalog.types) {
    names.insert(name);
    for (const Field& field : type.fields) names.insert(field.name);
  }
  return names;
}

// String literals of a line of C++ that are one of `names`.
std::vector<std::string> literals(const std::string& line, const std::set<std::string>& names) {
  std::vector<std::string> found;
  std::string literal;
  bool inside = false;
  for (std::size_t i = 0; i < line.size(); ++i) {
    if (!inside && line.compare(i, 2, "//") == 0) break;
    if (line[i] == '\\') {
      literal += line[i++];
    } else if (line[i] == '"') {
      if (inside && names.contains(literal)) found.push_back(literal);
      inside = !inside;
      literal.clear();
      continue;
    }
    if (i < line.size()) literal += line[i];
  }
  return found;
}

TEST(Names, OfPlugInsStandInTheirOwnFilesAlone) {
  const std::set<std::string> names = names_of(builtin_catalog());
  ASSERT_TRUE(names.contains("heads") && names.contains("top2") && names.contains("moe"));
  std::vector<std::string> misplaced;
  for (const char* room : {"space", "model", "evaluator", "search"})
    for (const auto& entry : fs::recursive_directory_iterator(kRoot / room)) {
      const std::string path = fs::relative(entry.path(), kRoot).generic_string();
      if (path.starts_with("model/layers/") || path.starts_with("model/gatings/")) continue;
      if (!path.ends_with(".h") && !path.ends_with(".cpp")) continue;
      std::ifstream file(entry.path());
      for (std::string line; std::getline(file, line);)
        for (const std::string& word : literals(line, names))
          if (!allowed(path, word)) misplaced.push_back(path + ": " + line);
    }
  EXPECT_THAT(misplaced, IsEmpty());
}

TEST(Names, AreFoundInLiteralsAndNotInComments) {
  const std::set<std::string> names = {"attn", "d_ffn"};
  EXPECT_THAT(literals(R"(  if (type == "attn" || field == "d_ffn") ++n;  // "attn")", names),
              ElementsAre("attn", "d_ffn"));
  EXPECT_THAT(literals(R"(  // an "attn" sub-layer)", names), IsEmpty());
  EXPECT_THAT(literals(R"(  say("no \"attn\" here", "d_ffn_");)", names), IsEmpty());
}

// What a reader of `space show` and of the documentation sees.
TEST(Names, EveryFieldHasHelp) {
  for (const auto& [name, type] : builtin_catalog().types) {
    EXPECT_NE(type.help, "") << name;
    for (const Field& field : type.fields) EXPECT_NE(field.help, "") << name << " " << field.name;
  }
}

}  // namespace
}  // namespace moebius
