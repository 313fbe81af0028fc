#include <gtest/gtest.h>

#include <cmath>
#include <set>
#include <thread>

#include "space/base/check.h"
#include "space/base/hash.h"
#include "space/base/log.h"
#include "space/base/registry.h"
#include "space/base/rng.h"
#include "space/base/text.h"
#include "space/base/units.h"
#include "tests/support/test_types.h"

namespace moebius {
namespace {

using testing::error_of;

TEST(Philox, ReproducesTheKnownAnswers) {  // Random123 1.14, kat_vectors, philox4x32-10
  const std::array<std::uint32_t, 4> zero = {0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8};
  const std::array<std::uint32_t, 4> ones = {0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd};
  const std::array<std::uint32_t, 4> pi = {0xd16cfe09, 0x94fdcceb, 0x5001e420, 0x24126ea1};
  EXPECT_EQ(philox(0, 0), zero);
  EXPECT_EQ(philox(~0ull, ~0ull, ~0ull), ones);
  EXPECT_EQ(philox(0x299f31d0a4093822, 0x85a308d3243f6a88, 0x0370734413198a2e), pi);
}

TEST(Rng, IsAFunctionOfSeedAndPosition) {
  Rng a(7), b(7);
  std::set<std::uint64_t> seen;
  for (int i = 0; i < 1000; ++i) {
    const std::uint64_t value = a.next();
    EXPECT_EQ(value, b.next());
    seen.insert(value);
  }
  EXPECT_EQ(seen.size(), 1000u);
  Rng copy = a;
  EXPECT_EQ(copy.next(), a.next());
}

TEST(Rng, SplitsIntoIndependentStreamsWithoutMoving) {
  Rng rng(7), untouched(7);
  Rng first = rng.split("a"), second = rng.split("b"), third = rng.split("a", 1);
  const std::set<std::uint64_t> values = {first.next(), second.next(), third.next(), rng.next()};
  EXPECT_EQ(values.size(), 4u);
  EXPECT_TRUE(values.contains(untouched.next()));
}

TEST(Rng, KeysAreTheSameForEver) {
  EXPECT_EQ(derive_key(1, "batch", 2), 3314203132952494614u);
  EXPECT_EQ(Rng(1).next(), 16504019988892878448u);
}

TEST(Rng, BelowIsUniform) {
  Rng rng(3);
  std::array<double, 7> count = {};
  constexpr int kDraws = 70'000;
  for (int i = 0; i < kDraws; ++i) ++count[rng.below(7)];
  double chi2 = 0;
  for (const double n : count) chi2 += (n - kDraws / 7.0) * (n - kDraws / 7.0) / (kDraws / 7.0);
  EXPECT_LT(chi2, 22.5);  // 6 degrees of freedom, p = 0.001
  EXPECT_EQ(rng.below(1), 0u);
  // Without rejection every third value below 3/4 of 2^64 would come twice as often.
  double thirds = 0;
  for (int i = 0; i < 6000; ++i) thirds += rng.below(std::uint64_t{3} << 62) % 3 == 0;
  EXPECT_NEAR(thirds / 6000, 1 / 3.0, 0.03);
  EXPECT_NE(error_of([&] { rng.below(0); }, Exit::Bug), "");
}

TEST(Rng, NormalHasTheMomentsOfTheNormalDistribution) {
  Rng rng(5);
  double sum = 0, squares = 0, fourth = 0;
  constexpr int kDraws = 100'000;
  for (int i = 0; i < kDraws; ++i) {
    const double x = rng.normal();
    sum += x;
    squares += x * x;
    fourth += x * x * x * x;
  }
  EXPECT_NEAR(sum / kDraws, 0, 0.015);
  EXPECT_NEAR(squares / kDraws, 1, 0.02);
  EXPECT_NEAR(fourth / kDraws, 3, 0.15);
}

TEST(Hash, IsXxh3) {  // published test vectors of the empty input, seed 0
  EXPECT_EQ(hash_hex(""), "99aa06d3014798d86001c324468d497f");
  EXPECT_EQ(hash64(""), 0x2d06800538d394c2u);
}

TEST(Text, FindsTheNearestName) {
  const std::vector<std::string> names = {"heads", "head_dim", "d_ffn", "d_moe"};
  EXPECT_EQ(nearest("heds", names), "heads");
  EXPECT_EQ(nearest("haeds", names), "heads");
  EXPECT_EQ(nearest("d_fn", names), "d_ffn");
  EXPECT_EQ(nearest("experts", names), "");
  EXPECT_EQ(nearest("", names), "");
  EXPECT_EQ(unknown_name("unknown key", "heds", names), "unknown key; did you mean 'heads'?");
  EXPECT_EQ(unknown_name("unknown key", "zzzz", names), "unknown key");
}

TEST(Text, RefusesHostileNames) {
  for (const char* good : {"first", "a", "run-2.v1_x", "007"}) EXPECT_EQ(why_bad_name(good), "");
  for (const char* bad : {"", "../../etc/x", "a/b", "-rf", ".hidden", "a..b", "a b", "a\nb",
                          "\x1b[31mred", "na\xc3\xafve"})
    EXPECT_NE(why_bad_name(bad), "") << bad;
  EXPECT_EQ(why_bad_name(std::string(64, 'x')), "");
  EXPECT_NE(why_bad_name(std::string(65, 'x')), "");
}

TEST(Text, PrintableEscapesWhatDrivesATerminal) {
  EXPECT_EQ(printable("plain na\xc3\xafve"), "plain na\xc3\xafve");
  EXPECT_EQ(printable("\x1b[31m"), "\\x1b[31m");
  EXPECT_EQ(printable("a\nb\x7f"), "a\\x0ab\\x7f");
  EXPECT_EQ(printable("\xe2\x80\xae"), "\\xe2\\x80\\xae");  // right-to-left override
  EXPECT_EQ(printable("\xff\xc3"), "\\xff\\xc3");           // not UTF-8
  EXPECT_EQ(printable("\xc2\x9b"), "\\xc2\\x9b");           // the one-byte escape of Latin-1
}

TEST(Text, ShellQuotedWordsComeBackFromAShellAsTheyWere) {
  EXPECT_EQ(shell_quoted("runs/r.db"), "runs/r.db");
  EXPECT_EQ(shell_quoted("sqlite:///r.db"), "sqlite:///r.db");
  EXPECT_EQ(shell_quoted(""), "''");
  EXPECT_EQ(shell_quoted("my runs/it's.db"), "'my runs/it'\\''s.db'");
  for (const std::string word : {"a b", "$HOME", "`x`", "a;b", "*", "~", "#", "(x)", "\"", "a\nb"})
    EXPECT_EQ(shell_quoted(word), "'" + word + "'");
}

TEST(Units, AreWhatPeopleWrite) {
  EXPECT_EQ(count_text(29531842560), "29.5B");
  EXPECT_EQ(count_text(830000), "830k");
  EXPECT_EQ(count_text(999.7), "1k");
  EXPECT_EQ(count_text(999'960), "1M");
  EXPECT_EQ(count_text(0), "0");
  EXPECT_EQ(count_text(2.5e15), "2500T");
  EXPECT_EQ(bytes_text(1536), "1.5 KiB");
  EXPECT_EQ(bytes_text(1000), "1000 B");
  EXPECT_EQ(bytes_text(4 << 20), "4 MiB");
  EXPECT_EQ(seconds_text(0.0123), "12.3 ms");
  EXPECT_EQ(seconds_text(75), "1m15s");
  EXPECT_EQ(seconds_text(2.5), "2.5 s");
  EXPECT_EQ(seconds_text(59.97), "1m00s");
  EXPECT_EQ(seconds_text(7500), "2h05m");
  EXPECT_EQ(exact_text(30233088), "30,233,088");
  EXPECT_EQ(exact_text(999), "999");
  EXPECT_EQ(exact_text(std::pow(1e4, 40)), "~2^532");
}

TEST(Units, ShortestReadsBackToTheSameDouble) {
  Rng rng(11);
  for (int i = 0; i < 1000; ++i) {
    const double value = std::ldexp(rng.uniform() - 0.5, static_cast<int>(rng.below(200)) - 100);
    EXPECT_EQ(std::stod(shortest(value)), value);
  }
  EXPECT_EQ(shortest(2), "2");
  EXPECT_EQ(shortest(-0.0), "0");
  EXPECT_EQ(shortest(0.1), "0.1");
}

TEST(Units, ParseOnlyWholeNumbersWithTheirSuffix) {
  double count = 0;
  std::int64_t bytes = 0;
  EXPECT_TRUE(parse_count("300k", count) && count == 300e3);
  EXPECT_TRUE(parse_count("1.6M", count) && count == 1.6e6);
  EXPECT_TRUE(parse_count("2e12", count) && count == 2e12);
  EXPECT_TRUE(parse_count("7B", count) && count == 7e9);
  for (const char* bad : {"", "k", "3 k", "3kk", "-3", "nan", "inf", "1e400", "0x10", "3q", "1,5"})
    EXPECT_FALSE(parse_count(bad, count)) << bad;
  EXPECT_TRUE(parse_bytes("20GiB", bytes) && bytes == std::int64_t{20} << 30);
  EXPECT_TRUE(parse_bytes("1.5KiB", bytes) && bytes == 1536);
  EXPECT_TRUE(parse_bytes("1000", bytes) && bytes == 1000);
  for (const char* bad : {"20GB", "20 GiB", "-1", "1e30", "GiB", "9e18TiB"})
    EXPECT_FALSE(parse_bytes(bad, bytes)) << bad;
}

TEST(Registry, NamesTheKnownPluginsAndTheNearestOne) {
  Registry<int> registry("sampler");
  registry.add("random", 1);
  registry.add("evolution", 2);
  EXPECT_EQ(registry.get("evolution"), 2);
  EXPECT_EQ(error_of([&] { registry.get("randm"); }),
            "sampler: unknown sampler; did you mean 'random'?; allowed: random, evolution; "
            "got: randm");
  EXPECT_NE(error_of([&] { registry.add("random", 3); }, Exit::Bug), "");
}

std::vector<std::string> lines;

TEST(Log, KeepsLinesWholeWhateverTheThreads) {
  lines.clear();
  set_log_sink([](const std::string& line) { lines.push_back(line); });
  std::vector<std::thread> threads;
  for (int t = 0; t < 4; ++t)
    threads.emplace_back([t] {
      for (int i = 0; i < 50; ++i) warn("{}", t);
    });
  for (std::thread& thread : threads) thread.join();
  set_log_level(LogLevel::Quiet);
  warn("not shown");
  log_line(LogLevel::Warning, "nor this");
  set_log_level(LogLevel::Info);
  set_log_sink(nullptr);
  EXPECT_EQ(lines.size(), 200u);
  for (const std::string& line : lines) EXPECT_EQ(line.size(), std::string("warning: 0").size());
}

}  // namespace
}  // namespace moebius
