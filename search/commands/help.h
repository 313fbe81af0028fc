#pragma once
#include <string>
#include <vector>

namespace moebius {

// What --help shows of one command, collected while it declares itself.
struct HelpPage {
  struct Option {
    std::string names, word, help, fallback;  // "-o,--out", "DIR", .., default or ""
  };
  struct Positional {
    std::string name, help;
    bool required = false, many = false;
  };
  struct Subcommand {
    std::string name, summary;
  };
  std::string path, summary;  // "moebius space list"
  std::vector<std::string> examples;
  std::vector<Positional> positionals;
  std::vector<Option> options;
  std::vector<Subcommand> commands;
};

// Examples first, then commands, arguments and options with their defaults; wrapped to the
// terminal.
std::string help_text(const HelpPage& page);

}  // namespace moebius
