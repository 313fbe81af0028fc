# Writes OUTPUT: space/resources.h over the FILES (relative to ROOT) as raw string literals.
set(text "#include \"space/resources.h\"\n\n#include <array>\n#include <utility>\n\n#include \"space/base/check.h\"\n\n")
string(APPEND text "namespace moebius {\nnamespace {\nusing Entry = std::pair<std::string_view, std::string_view>;\n")
set(entries "")
set(index 0)
foreach(file IN LISTS FILES)
  file(READ ${ROOT}/${file} content HEX)
  # A string literal of \xNN is cut into short pieces: compilers limit its length, and pieces concatenate.
  string(REGEX REPLACE "([0-9a-f][0-9a-f])" "\\\\x\\1" bytes "${content}")
  string(LENGTH "${content}" digits)
  math(EXPR size "${digits} / 2")
  string(REGEX REPLACE "(................................................................................)" "\\1\"\n  \"" bytes "${bytes}")
  string(APPEND text "constexpr char kFile${index}[] =\n  \"${bytes}\";\n")
  string(APPEND entries "    Entry{\"${file}\", std::string_view(kFile${index}, ${size})},\n")
  math(EXPR index "${index} + 1")
endforeach()
string(APPEND text "constexpr std::array<Entry, ${index}> kEntries = {\n${entries}};\n}  // namespace\n
std::string_view resource(std::string_view path) {
  for (const auto& [name, content] : kEntries)
    if (name == path) return content;
  throw Error(Exit::Bug, \"[resources] no file \" + std::string(path) + \" was compiled in\");
}

std::vector<std::string> resources(std::string_view directory) {
  std::vector<std::string> result;
  for (const auto& entry : kEntries)
    if (entry.first.substr(0, entry.first.rfind('/')) == directory) result.emplace_back(entry.first);
  return result;
}

}  // namespace moebius\n")
file(WRITE ${OUTPUT} "${text}")
