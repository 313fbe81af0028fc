#include "evaluator/training/budget.h"

#include "evaluator_support.h"

namespace moebius {
namespace {

using testing_support::bad_input_of;
using Unit = Budget::Unit;

TEST(Budget, ReadsEveryUnit) {
  EXPECT_EQ(parse_budget("500steps"), (Budget{Unit::Steps, 500, ""}));
  EXPECT_EQ(parse_budget("300ktok"), (Budget{Unit::Tokens, 300e3, ""}));
  EXPECT_EQ(parse_budget("1.5Mtok"), (Budget{Unit::Tokens, 1.5e6, ""}));
  EXPECT_EQ(parse_budget("2e12flop"), (Budget{Unit::Flops, 2e12, ""}));
  EXPECT_EQ(parse_budget("20s"), (Budget{Unit::Cpu, 20, ""}));
  EXPECT_EQ(parse_budget("20s:cpu"), parse_budget("20s"));
  EXPECT_EQ(parse_budget("0.5s:wall"), (Budget{Unit::Wall, 0.5, ""}));
}

TEST(Budget, PrintsWhatItReads) {
  for (const char* text : {"500steps", "300ktok", "1.5Mtok", "123456789tok", "2e12flop", "20s",
                           "0.25s", "90s:wall", "7steps"})
    EXPECT_EQ(to_string(parse_budget(text)), text);
  EXPECT_EQ(to_string(parse_budget("20s:cpu")), "20s");
  EXPECT_EQ(to_string(parse_budget("1500ktok")), "1.5Mtok");
}

TEST(Budget, RefusesWhatIsNoBudgetNamingTheOption) {
  for (const char* text : {"", "20", "steps", "-5s", "0tok", "nans", "infs", "1.5steps", "20 s",
                           "2e12flops", "20ms", "1e10steps", "0.5tok", "20s:gpu"}) {
    const std::string line = bad_input_of([&] { parse_budget(text); });
    EXPECT_EQ(line.rfind("--budget: ", 0), 0u) << line;
    EXPECT_NE(line.find("; allowed: "), std::string::npos) << line;
  }
  EXPECT_EQ(bad_input_of([] { parse_budget("1.5steps"); }),
            "--budget: not a whole number of steps; allowed: 500steps, 300ktok, 2e12flop, 20s, "
            "20s:wall; got: 1.5steps");
}

TEST(Budget, VirtualSecondsNeedAProfileThatPredicts) {
  const std::string line = bad_input_of([] { parse_budget("20s:virtual@h200"); });
  EXPECT_NE(line.find("cpu-local"), std::string::npos) << line;
  EXPECT_NE(line.find("got: 20s:virtual@h200"), std::string::npos) << line;
}

TEST(Budget, BecomesWholeStepsBeforeTheFirst) {
  const StepCost step{1024, 3e9, 0.05};
  EXPECT_EQ(steps_of(parse_budget("500steps"), step), 500);
  EXPECT_EQ(steps_of(parse_budget("300ktok"), step), 292);  // 292.97
  EXPECT_EQ(steps_of(parse_budget("6e9flop"), step), 2);
  EXPECT_EQ(steps_of(parse_budget("20s"), step), 400);
  EXPECT_EQ(steps_of(parse_budget("1tok"), step), 1);
  EXPECT_EQ(steps_of(parse_budget("0.5s"), step), 20);  // a timed run has at least 20
}

}  // namespace
}  // namespace moebius
