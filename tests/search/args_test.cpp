#include "search/commands/args.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "space/base/check.h"

namespace moebius {
namespace {

using testing::HasSubstr;
using testing::StartsWith;

std::string error_of(const std::vector<std::string>& words) {
  try {
    parse_and_run(words);
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), Exit::BadInput) << error.what();
    return error.what();
  }
  return "no error";
}

TEST(Args, UnknownOptionsNameTheNearest) {
  EXPECT_EQ(error_of({"search", "--trils", "5"}),
            "unknown option '--trils'; did you mean '--trials'?");
  EXPECT_EQ(error_of({"search", "--trils=5"}),
            "unknown option '--trils'; did you mean '--trials'?");
}

TEST(Args, UnknownCommandsNameTheNearest) {
  EXPECT_THAT(error_of({"sarch"}), StartsWith("unknown command 'sarch'; did you mean 'search'?"));
  EXPECT_THAT(error_of({"space", "lst"}),
              StartsWith("unknown command 'lst'; did you mean 'list'?"));
}

TEST(Args, NumbersMustLieInTheirRange) {
  EXPECT_EQ(error_of({"search", "--workers", "0"}),
            "--workers: must be an integer; allowed: 1..64; got: 0");
  EXPECT_EQ(error_of({"search", "--workers=1000000000"}),
            "--workers: must be an integer; allowed: 1..64; got: 1000000000");
  EXPECT_EQ(error_of({"search", "--workers", "abc"}),
            "--workers: must be an integer; allowed: 1..64; got: abc");
  EXPECT_EQ(error_of({"search", "--workers", "1.0"}),
            "--workers: must be an integer; allowed: 1..64; got: 1.0");
  EXPECT_THAT(error_of({"search", "--seed=-1"}), StartsWith("--seed: must be an integer"));
  EXPECT_THAT(error_of({"search", "--seed", "-1"}), StartsWith("--seed: must be an integer"));
  EXPECT_THAT(error_of({"search", "--lr", "nan"}), StartsWith("--lr: must be a number"));
  EXPECT_THAT(error_of({"search", "--lr", "1e999"}), StartsWith("--lr: must be a number"));
  EXPECT_THAT(error_of({"search", "--lr", "0,1"}), StartsWith("--lr: must be a number"));
  EXPECT_THAT(error_of({"search", "--seed", "99999999999999999999"}),
              StartsWith("--seed: must be an integer"));
}

TEST(Args, ValuesAreNeverMissingOrEmpty) {
  for (const std::vector<std::string>& words :
       std::vector<std::vector<std::string>>{{"search", "--db="},
                                             {"search", "--db", ""},
                                             {"search", "--db"},
                                             {"search", "--db=", "x"},
                                             {"search", "--db", "--study", "x"}})
    EXPECT_THAT(error_of(words), StartsWith("--db: needs a value")) << words.size();
}

TEST(Args, AnOptionIsGivenOnce) {
  EXPECT_THAT(error_of({"search", "--seed", "1", "--seed", "2"}),
              StartsWith("--seed: given more than once"));
}

TEST(Args, ChoicesNameTheNearest) {
  EXPECT_THAT(error_of({"search", "--sampler", "evolutoin"}),
              HasSubstr("did you mean 'evolution'?"));
  EXPECT_THAT(error_of({"top", "-f", "yaml"}), HasSubstr("allowed: table, json, jsonl, csv"));
}

TEST(Args, ExtraWordsAreRefused) {
  EXPECT_THAT(error_of({"version", "top"}), StartsWith("unexpected argument 'top'"));
}

TEST(Args, RequiredOptionsAreNamed) {
  EXPECT_THAT(error_of({"query"}), StartsWith("--sql: is required"));
  EXPECT_THAT(error_of({"tell"}), StartsWith("TRIAL: is required"));
}

TEST(Args, HugeValuesAreShownShort) {
  EXPECT_LT(error_of({"search", "--workers", std::string(1 << 20, 'x')}).size(), 200U);
}

TEST(Args, HelpOfEveryCommandShowsAnExampleAndEveryOption) {
  for (const auto& entry : commands()) {
    testing::internal::CaptureStdout();
    EXPECT_EQ(parse_and_run({entry.first, "--help"}), 0);
    const std::string help = testing::internal::GetCapturedStdout();
    EXPECT_THAT(help, StartsWith("moebius " + entry.first + ": "));
    EXPECT_THAT(help, HasSubstr("examples:\n  moebius " + entry.first));
    EXPECT_THAT(help, HasSubstr("--help"));
  }
}

TEST(Args, HelpShowsDefaults) {
  testing::internal::CaptureStdout();
  parse_and_run({"search", "--help"});
  const std::string help = testing::internal::GetCapturedStdout();
  EXPECT_THAT(help, HasSubstr("(default 20s)"));
  EXPECT_THAT(help, HasSubstr("(default evolution)"));
  EXPECT_THAT(help, testing::Not(HasSubstr("(default -1)")));  // not set, not minus one
}

TEST(Args, HelpWinsOverMissingOptions) {
  testing::internal::CaptureStdout();
  EXPECT_EQ(parse_and_run({"query", "--help"}), 0);
  EXPECT_THAT(testing::internal::GetCapturedStdout(), HasSubstr("--sql"));
}

}  // namespace
}  // namespace moebius
