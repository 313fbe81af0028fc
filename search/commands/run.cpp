#include <algorithm>
#include <csignal>
#include <cstdio>
#include <exception>
#include <new>

#include "model/instruction_level.h"
#include "search/commands/args.h"
#include "search/report/table.h"
#include "space/base/text.h"

namespace moebius {
namespace {

std::string& remembered_line() {
  static std::string line;
  return line;
}

void print_error(const std::string& lines) {
  std::size_t begin = 0;
  while (begin <= lines.size()) {
    const std::size_t end = std::min(lines.find('\n', begin), lines.size());
    std::string line = printable(lines.substr(begin, end - begin));
    if (line.size() > 500) line = line.substr(0, 497) + "...";
    fmt::print(stderr, "error: {}\n", line);
    begin = end + 1;
  }
}

int code_of(Exit exit) { return static_cast<int>(exit); }

constexpr char kReport[] =
    "this is a bug: please report it with the command and the output of 'moebius version --json'";

int guarded(const std::vector<std::string>& words) {
  try {
    instruction_level();  // throws where MOEBIUS_LEVEL is wrong, before anything is written
    const int code = words.empty() ? parse_and_run({"--help"}) : parse_and_run(words);
    flush_out();
    return code;
  } catch (const Error& error) {
    print_error(error.what());
    if (error.code() == Exit::Bug) print_error(kReport);
    return code_of(error.code());
  } catch (const std::bad_alloc&) {
    print_error("out of memory (an allocation was refused); lower --memory, --workers or the size");
    print_error(kReport);
  } catch (const std::exception& error) {
    print_error(error.what());
    print_error(kReport);
  }
  return code_of(Exit::Bug);
}

}  // namespace

std::string command_line() { return remembered_line(); }

int run_command_line(int argc, char** argv) {
  // A reader that went away (`moebius search | head -1`) must not end a search: writes just fail.
  std::signal(SIGPIPE, SIG_IGN);
  std::vector<std::string> words(argv + std::min(argc, 1), argv + argc);
  remembered_line() = "moebius";
  for (const std::string& word : words) remembered_line() += " " + shell_quoted(word);
  if (!words.empty() && words[0] == "--version") words = {"version"};
  return guarded(words);
}

}  // namespace moebius
