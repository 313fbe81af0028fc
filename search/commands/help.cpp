#include "search/commands/help.h"

#include <algorithm>

#include "search/report/table.h"
#include "space/base/check.h"

namespace moebius {
namespace {

using Pair = std::pair<std::string, std::string>;

std::string wrapped(const std::string& text, std::size_t indent, std::size_t width) {
  std::string result;
  std::size_t column = indent, begin = 0;
  while (begin < text.size()) {
    const std::size_t end = std::min(text.find(' ', begin), text.size());
    if (column > indent && column + 1 + end - begin > width) {
      result += "\n" + std::string(indent, ' ');
      column = indent;
    } else if (column > indent) {
      result += ' ';
      ++column;
    }
    result += text.substr(begin, end - begin);
    column += end - begin;
    begin = end + 1;
  }
  return result;
}

std::string section(const std::string& title, const std::vector<Pair>& pairs, std::size_t width) {
  if (pairs.empty()) return "";
  std::size_t left = 0;
  for (const Pair& pair : pairs) left = std::max(left, pair.first.size());
  left = std::min<std::size_t>(left, 28);
  std::string result = fmt::format("\n{}:\n", title);
  for (const auto& [name, help] : pairs) {
    result += "  " + name;
    result += name.size() > left ? "\n" + std::string(left + 4, ' ')
                                 : std::string(left + 2 - name.size(), ' ');
    result += wrapped(help, left + 4, width) + "\n";
  }
  return result;
}

std::string usage(const HelpPage& page) {
  std::string line = "usage: " + page.path;
  if (!page.commands.empty()) line += " COMMAND";
  for (const HelpPage::Positional& positional : page.positionals) {
    const std::string name = positional.name + (positional.many ? " ..." : "");
    line += positional.required ? " " + name : " [" + name + "]";
  }
  return line + " [options]\n";
}

}  // namespace

std::string help_text(const HelpPage& page) {
  const std::size_t width = std::clamp<std::size_t>(terminal_width(1, 100), 60, 100);
  std::string text = fmt::format("{}: {}\n\n", page.path, wrapped(page.summary, 2, width));
  if (!page.examples.empty()) text += "examples:\n";
  for (const std::string& line : page.examples) text += "  " + line + "\n";
  if (!page.examples.empty()) text += "\n";
  text += usage(page);
  std::vector<Pair> commands, positionals, options;
  for (const auto& command : page.commands) commands.emplace_back(command.name, command.summary);
  for (const auto& positional : page.positionals)
    positionals.emplace_back(positional.name, positional.help);
  for (const HelpPage::Option& option : page.options) {
    std::string names = option.names;
    if (const std::size_t comma = names.find(','); comma != std::string::npos)
      names.insert(comma + 1, " ");
    if (!option.word.empty()) names += " " + option.word;
    options.emplace_back(names, option.fallback.empty()
                                    ? option.help
                                    : fmt::format("{} (default {})", option.help, option.fallback));
  }
  text += section("commands", commands, width);
  text += section("arguments", positionals, width);
  text += section("options", options, width);
  if (!page.commands.empty())
    text += fmt::format("\nmore: {} COMMAND --help; moebius --version\n", page.path);
  return text;
}

}  // namespace moebius
