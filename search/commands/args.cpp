#include "search/commands/args.h"

#include <CLI/CLI.hpp>
#include <charconv>
#include <cmath>
#include <deque>
#include <memory>

#include "search/commands/help.h"
#include "search/report/table.h"
#include "space/base/log.h"
#include "space/base/units.h"

namespace moebius {
namespace {

// "-o,--out DIR" -> "--out"
std::string long_name(const std::string& names) {
  const std::size_t dashes = names.find("--");
  return dashes == std::string::npos ? names : names.substr(dashes);
}

template <class Number>
bool parse_number(const std::string& text, Number& value) {
  const char* end = text.data() + text.size();
  const auto [rest, error] = std::from_chars(text.data(), end, value);
  return error == std::errc() && rest == end;
}

std::string shown(const std::string& text) {
  return text.size() > 80 ? text.substr(0, 77) + "..." : text;
}

std::int64_t integer_in(const std::string& where, const std::string& word, std::int64_t low,
                        std::int64_t high) {
  std::int64_t number = 0;
  if (!parse_number(word, number) || number < low || number > high)
    bad_input(where, "must be an integer", fmt::format("{}..{}", low, high), shown(word));
  return number;
}

double number_in(const std::string& where, const std::string& word, double low, double high) {
  double number = 0;
  if (!parse_number(word, number) || !(number >= low && number <= high))
    bad_input(where, "must be a number", shortest(low) + ".." + shortest(high), shown(word));
  return number;
}

const std::string& one_of(const std::string& where, const std::string& word,
                          const std::vector<std::string>& allowed) {
  if (std::find(allowed.begin(), allowed.end(), word) == allowed.end())
    bad_input(where, unknown_name("not one of the choices", word, allowed), join(allowed, ", "),
              shown(word));
  return word;
}

Value field_value(const std::string& where, const std::string& word, const Field& field) {
  switch (field.kind) {
    case Field::Kind::Integer:
      return integer_in(where, word, std::llround(field.low), std::llround(field.high));
    case Field::Kind::Number:
      return number_in(where, word, field.low, field.high);
    case Field::Kind::Choice:
      return one_of(where, word, field.choices);
    case Field::Kind::Text:
      return word;
  }
  return word;
}

// One command or subcommand. CLI11 only cuts the words into options and values; whether a value is
// good is judged here, so that every complaint has the house form.
class CliArgs : public Args {
 public:
  CliArgs(CLI::App& app, std::string path) : app_(app) {
    help_.path = std::move(path);
    app_.set_help_flag();
    app_.allow_extras();
    app_.require_subcommand(0, 1);
    flag("-h,--help", help_wanted_, "print this help");
    flag("-q,--quiet", quiet_, "only results and errors");
  }

  void option(const std::string& name, std::string& value, const std::string& help) override {
    add(name, "TEXT", help, value,
        [&value](const std::string&, const std::string& word) { value = word; });
  }

  void option(const std::string& name, std::int64_t& value, std::int64_t low, std::int64_t high,
              const std::string& help) override {
    add(name, "N", help, value < low || value > high ? "" : std::to_string(value),
        [&value, low, high](const std::string& where, const std::string& word) {
          value = integer_in(where, word, low, high);
        });
  }

  void option(const std::string& name, double& value, double low, double high,
              const std::string& help) override {
    add(name, "X", help, value >= low && value <= high ? shortest(value) : "",
        [&value, low, high](const std::string& where, const std::string& word) {
          value = number_in(where, word, low, high);
        });
  }

  void option(const std::string& name, const Field& field,
              std::function<void(const Value&)> take) override {
    const std::string kind = field.kind == Field::Kind::Integer  ? "N"
                             : field.kind == Field::Kind::Number ? "X"
                             : field.kind == Field::Kind::Choice ? join(field.choices, "|")
                                                                 : "TEXT";
    add(name, kind, field.help, field.fallback.empty() ? "" : value_text(field.fallback.front()),
        [field, take](const std::string& where, const std::string& word) {
          take(field_value(where, word, field));
        });
  }

  void option(const std::string& name, std::vector<std::string>& values,
              const std::string& help) override {
    add(name, "TEXT", help + "; may be repeated", "",
        [&values](const std::string&, const std::string& word) { values.push_back(word); });
    options_.back().repeatable = true;
  }

  void choice(const std::string& name, std::string& value, const std::vector<std::string>& allowed,
              const std::string& help) override {
    add(name, join(allowed, "|"), help, value,
        [&value, allowed](const std::string& where, const std::string& word) {
          value = one_of(where, word, allowed);
        });
  }

  void flag(const std::string& name, bool& value, const std::string& help) override {
    CLI::Option* option = app_.add_flag_function(name, [](std::int64_t) {});
    options_.push_back({option, long_name(name), {}, false, false, [&value] { value = true; }});
    help_.options.push_back({name, "", help, ""});
  }

  void positional(const std::string& name, std::string& value, bool required,
                  const std::string& help) override {
    add_positional(name, required, false, help,
                   [&value](const std::string&, const std::string& word) { value = word; });
  }

  void positionals(const std::string& name, std::vector<std::string>& values, bool required,
                   const std::string& help) override {
    add_positional(
        name, required, true, help,
        [&values](const std::string&, const std::string& word) { values.push_back(word); });
  }

  void required(const std::string& name) override {
    for (Declared& declared : options_)
      if (declared.name == name) declared.required = true;
  }

  void subcommand(const std::string& name, const std::string& summary,
                  const std::function<std::function<int()>(Args&)>& describe) override {
    CLI::App* sub = app_.add_subcommand(name, summary);
    CliArgs& args = children_.emplace_back(*sub, help_.path + " " + name);
    args.help_.summary = summary;
    args.run_ = describe(args);
    help_.commands.push_back({name, summary});
  }

  void example(const std::string& line) override { help_.examples.push_back(line); }

  bool given(const std::string& name) const override {
    for (const Declared& declared : options_)
      if (declared.name == name) return declared.option->count() > 0;
    MOEBIUS_CHECK(false, "[args] no option {}", name);
  }

  void set_summary(const std::string& summary) { help_.summary = summary; }

  // Assigns what was parsed and runs the chosen command.
  int run() {
    complain_about_options();
    if (!run_) complain_about_words();
    for (CliArgs& child : children_)
      if (child.app_.parsed()) return child.run();
    if (given("--help") || !run_) {
      print_out(help_text(help_));
      return 0;
    }
    for (const Declared& declared : options_) assign(declared);
    complain_about_words();
    for (const Declared& declared : options_)
      if (declared.required && declared.option->count() == 0)
        bad_input(declared.name, "is required");
    if (quiet_) set_log_level(LogLevel::Warning);
    return run_();
  }

 private:
  using Assign = std::function<void(const std::string& where, const std::string& word)>;
  struct Declared {
    CLI::Option* option;
    std::string name;
    Assign assign;
    bool repeatable = false, required = false;
    std::function<void()> raise_flag;
  };

  void add(const std::string& declared, const std::string& kind, const std::string& help,
           const std::string& fallback, Assign set) {
    const std::size_t space = declared.find(' ');
    const std::string names = declared.substr(0, space);
    const std::string word = space == std::string::npos ? kind : declared.substr(space + 1);
    CLI::Option* option = app_.add_option(names, CLI::callback_t([](const auto&) { return true; }));
    option->type_size(1)->expected(1)->multi_option_policy(CLI::MultiOptionPolicy::TakeAll);
    options_.push_back({option, long_name(names), std::move(set), false, false, nullptr});
    help_.options.push_back({names, word, help, fallback});
  }

  void add_positional(const std::string& name, bool required, bool many, const std::string& help,
                      Assign set) {
    CLI::Option* option = app_.add_option(name, CLI::callback_t([](const auto&) { return true; }));
    option->type_size(1)->expected(1, many ? 1 << 20 : 1);
    option->multi_option_policy(CLI::MultiOptionPolicy::TakeAll)->allow_extra_args(many);
    options_.push_back({option, name, std::move(set), many, required, nullptr});
    help_.positionals.push_back({name, help, required, many});
  }

  std::vector<std::string> option_names() const {
    std::vector<std::string> names;
    for (const Declared& declared : options_)
      if (declared.name.starts_with("--")) names.push_back(declared.name);
    return names;
  }

  void complain_about_options() const {
    for (const std::string& word : app_.remaining()) {
      const std::string name = word.substr(0, word.find('='));
      if (name.starts_with("-") && name != "--")
        throw Error(Exit::BadInput,
                    unknown_name("unknown option '" + shown(name) + "'", name, option_names()));
    }
  }

  void complain_about_words() const {
    std::vector<std::string> names;
    for (const auto& command : help_.commands) names.push_back(command.name);
    for (const std::string& word : app_.remaining()) {
      if (word == "--") continue;
      const std::string what =
          names.empty() ? "unexpected argument '" + shown(word) + "'"
                        : unknown_name("unknown command '" + shown(word) + "'", word, names);
      throw Error(Exit::BadInput, what + "; see " + help_.path + " --help");
    }
  }

  void assign(const Declared& declared) const {
    const std::vector<std::string>& words = declared.option->results();
    if (words.empty()) return;
    if (declared.raise_flag) return declared.raise_flag();
    if (words.size() > 1 && !declared.repeatable)
      bad_input(declared.name, "given more than once", "", shown(words[1]));
    const std::vector<std::string> names = option_names();
    for (const std::string& word : words) {
      if (word.empty() || std::find(names.begin(), names.end(), word) != names.end())
        bad_input(declared.name, "needs a value", "", shown(word));
      declared.assign(declared.name, word);
    }
  }

  CLI::App& app_;
  HelpPage help_;
  std::vector<Declared> options_;
  std::deque<CliArgs> children_;
  std::function<int()> run_;
  bool help_wanted_ = false, quiet_ = false;
};

// CLI11 reads `--db= x` as `--db x`.
void refuse_empty_values(const std::vector<std::string>& words) {
  for (const std::string& word : words) {
    if (word == "--") return;
    if (word.size() > 3 && word.starts_with("--") && word.find('=') == word.size() - 1)
      bad_input(word.substr(0, word.size() - 1), "needs a value");
  }
}

}  // namespace

int parse_and_run(const std::vector<std::string>& words) {
  CLI::App app;
  CliArgs root(app, "moebius");
  root.set_summary("searches for Transformer blocks that mix attention, dense and expert layers");
  root.example("moebius demo");
  root.example("moebius search --space brainformer-nano --data my.txt --trials 40 --budget 20s");
  root.example("moebius top");
  for (const auto& [name, command] : commands())
    root.subcommand(name, command.summary, command.describe);
  refuse_empty_values(words);
  try {
    app.parse(std::vector<std::string>(words.rbegin(), words.rend()));
  } catch (const CLI::ArgumentMismatch& mismatch) {
    const std::string what = mismatch.what();
    bad_input(what.substr(0, what.find_first_of(": ")), "needs a value");
  } catch (const CLI::ParseError& error) {
    throw Error(Exit::BadInput, error.what());
  }
  return root.run();
}

}  // namespace moebius
