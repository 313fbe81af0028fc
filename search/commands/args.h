#pragma once
#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "space/base/registry.h"
#include "space/layer_type.h"

namespace moebius {

// How a command describes its options, so that CLI11 stays in one file (search/commands/args.cpp)
// and help, completion and checks come from one list. Values are bound by reference and must
// outlive the parse: keep them in a shared_ptr that the returned run function owns.
//
// An option is declared as users type it, with the word that help shows for its value:
// "-o,--out DIR". given() takes the long name, "--out".
class Args {
 public:
  virtual ~Args() = default;
  // `help` ends up in --help with the default: the value found in `value`, unless that is outside
  // the range ("not set").
  virtual void option(const std::string& name, std::string& value, const std::string& help) = 0;
  virtual void option(const std::string& name, std::int64_t& value, std::int64_t low,
                      std::int64_t high, const std::string& help) = 0;
  virtual void option(const std::string& name, double& value, double low, double high,
                      const std::string& help) = 0;
  virtual void option(const std::string& name, std::vector<std::string>& values,
                      const std::string& help) = 0;  // repeatable
  virtual void choice(const std::string& name, std::string& value,
                      const std::vector<std::string>& allowed, const std::string& help) = 0;
  // An option that a field describes: its kind, range, choices, help and default. `take` gets the
  // value when the option is given.
  virtual void option(const std::string& name, const Field& field,
                      std::function<void(const Value&)> take) = 0;
  virtual void flag(const std::string& name, bool& value, const std::string& help) = 0;
  virtual void positional(const std::string& name, std::string& value, bool required,
                          const std::string& help) = 0;
  virtual void positionals(const std::string& name, std::vector<std::string>& values, bool required,
                           const std::string& help) = 0;
  virtual void required(const std::string& name) = 0;
  // A command below this one ("space" -> "list"); `describe` declares its options and returns what
  // to run when it was chosen.
  virtual void subcommand(const std::string& name, const std::string& summary,
                          const std::function<std::function<int()>(Args&)>& describe) = 0;
  virtual void example(const std::string& line) = 0;  // shown first in --help
  virtual bool given(const std::string& name) const = 0;
};

// A command is one file in search/commands/ and one line in commands.def. `describe` declares
// options on `args` and returns what to run; the returned function gives the exit code.
struct Command {
  std::string summary;
  std::function<std::function<int()>(Args& args)> describe;
};
const Registry<Command>& commands();  // of commands.def

// The words of the command line, quoted where a shell needs it: what a study records and what
// "resume with" prints.
std::string command_line();

// Parses and runs one command line (without the program's name); throws Error.
int parse_and_run(const std::vector<std::string>& words);

// The whole program: every Error becomes one line on stderr per problem, and its exit code.
int run_command_line(int argc, char** argv);

}  // namespace moebius
