#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <map>
#include <set>

#include "space/scale.h"
#include "space/space.h"
#include "tests/support/test_types.h"

namespace moebius {
namespace {

using testing::error_of;
using testing::point_of;
using testing::read_space;
using testing::small_space;
using testing::test_types;

const std::map<std::string, double> kOperators = {{"nudge", .35},  {"resample", .15},
                                                  {"retype", .20}, {"move", .15},
                                                  {"swap", .05},   {"crossover", .10}};

// Runs `check(space, parent, mate, child, op)` over mutations of random parents of every preset.
template <class Check>
void for_mutations(int count, Check check) {
  for (const std::string& preset : space_presets()) {
    const Space space = load_space(preset, test_types());
    Rng rng = Rng(3).split(preset);
    for (int i = 0; i < count; ++i) {
      const Point parent = space.sample(rng), mate = space.sample(rng);
      const Mutation mutation = space.mutate(parent, mate, rng);
      check(space, parent, mate, mutation.child, operator_text(mutation.op));
    }
  }
}

std::vector<std::size_t> changed_slots(const Point& a, const Point& b) {
  std::vector<std::size_t> result;
  for (std::size_t s = 0; s < a.size(); ++s)
    if (a[s] != b[s]) result.push_back(s);
  return result;
}

std::multiset<std::string> kinds(const Spec& spec) {
  std::multiset<std::string> result;
  for (const SubLayer& sublayer : spec.sublayers) result.insert(sublayer.type);
  return result;
}

TEST(Mutate, NeverReturnsTheParent) {
  for_mutations(2000, [](const Space& space, const Point& parent, const Point&, const Point& child,
                         const std::string& op) {
    EXPECT_NE(space.resolve(child), space.resolve(parent)) << op;
  });
}

TEST(Mutate, StaysInTheSpaceAndItsBlocksComeBackFromJson) {
  for_mutations(300, [](const Space& space, const Point&, const Point&, const Point& child,
                        const std::string&) {
    const Spec spec = space.resolve(child);
    EXPECT_EQ(read_spec(to_json(spec), "child", test_types()), spec);
    EXPECT_TRUE(space.locate(spec));
  });
}

TEST(Mutate, EachOperatorDoesWhatItsNameSays) {
  for_mutations(2000, [](const Space& space, const Point& parent, const Point& mate,
                         const Point& child, const std::string& op) {
    const std::vector<std::size_t> changed = changed_slots(parent, child);
    const auto knob = [&](std::size_t s) -> const Knob& {
      return space.knobs()[space.slots()[s].knob];
    };
    if (op == "nudge") {
      ASSERT_EQ(changed.size(), 1u);
      EXPECT_TRUE(knob(changed[0]).ordinal);
      EXPECT_EQ(std::abs(child[changed[0]] - parent[changed[0]]), 1);
    } else if (op == "resample") {
      ASSERT_EQ(changed.size(), 1u);
      EXPECT_FALSE(knob(changed[0]).ordinal);
      EXPECT_NE(knob(changed[0]).name, "type");
    } else if (op == "retype") {
      ASSERT_EQ(changed.size(), 1u);
      EXPECT_EQ(knob(changed[0]).name, "type");
    } else if (op == "move" || op == "swap") {
      EXPECT_EQ(kinds(space.resolve(parent)), kinds(space.resolve(child)));
      EXPECT_TRUE(op == "move" || changed.size() == 2);
    } else {
      ASSERT_EQ(op, "crossover");
      for (const std::size_t s : changed) EXPECT_EQ(child[s], mate[s]);
    }
  });
}

// Each operator's share among `count` mutations, against its weight over the applicable ones.
void expect_shares(const Space& space, const Point& parent, const Point& mate,
                   const std::set<std::string>& applicable) {
  constexpr int kCount = 20'000;
  double total = 0;
  for (const std::string& op : applicable) total += kOperators.at(op);
  std::map<std::string, int> count;
  Rng rng(9);
  for (int i = 0; i < kCount; ++i) {
    ++count[operator_text(space.mutate(parent, mate, rng).op)];
  }
  EXPECT_EQ(count.size(), applicable.size());
  for (const std::string& op : applicable) {
    const double p = kOperators.at(op) / total;
    EXPECT_NEAR(count[op] / double{kCount}, p, 4 * std::sqrt(p * (1 - p) / kCount)) << op;
  }
}

TEST(Mutate, DrawsOperatorsByTheirWeightOverTheApplicable) {
  const Space space = read_space(small_space());
  const auto point = [&](std::vector<std::string> types) {
    return point_of(space, {{"type", types},
                            {"d_model", 32},
                            {"d_moe", 32},
                            {"d_ffn", 64},
                            {"heads", 2},
                            {"activation", "relu"}});
  };
  const Point mixed = point({"attn", "moe", "ffn"}), even = point({"attn", "attn", "attn"});
  expect_shares(space, mixed, even, {"nudge", "resample", "retype", "move", "swap", "crossover"});
  expect_shares(space, mixed, {}, {"nudge", "resample", "retype", "move", "swap"});
  expect_shares(space, mixed, mixed, {"nudge", "resample", "retype", "move", "swap"});
  // Nothing to move, and no activation to change, among three attentions.
  expect_shares(space, even, {}, {"nudge", "retype"});
}

TEST(Mutate, TouchesOnlyKnobsOfTypesThatArePresent) {
  const Space space = read_space(small_space());
  const Point parent = point_of(space, {{"type", {"attn", "attn", "attn"}},
                                        {"d_model", 32},
                                        {"d_moe", 32},
                                        {"d_ffn", 64},
                                        {"heads", 2},
                                        {"activation", "relu"}});
  std::set<std::string> touched;
  Rng rng(4);
  for (int i = 0; i < 500; ++i) {
    const Point child = space.mutate(parent, {}, rng).child;
    for (const std::size_t s : changed_slots(parent, child))
      touched.insert(space.knobs()[space.slots()[s].knob].name);
  }
  EXPECT_EQ(touched, (std::set<std::string>{"type", "d_model", "heads"}));
}

TEST(Mutate, PerSublayerKnobsMoveWithTheirSubLayer) {
  Json document = small_space();
  document["knobs"]["d_ffn"]["per"] = "sublayer";
  const Space space = read_space(document);
  const Point parent = point_of(space, {{"type", {"attn", "ffn", "ffn"}},
                                        {"d_model", 32},
                                        {"d_moe", 32},
                                        {"d_ffn", {64, 64, 96}},
                                        {"heads", 2},
                                        {"activation", "relu"}});
  const auto sorted = [](const Spec& spec) {
    std::multiset<std::string> result;
    const Json written = to_json(spec);
    for (const Json& sublayer : written["sublayers"]) result.insert(sublayer.dump());
    return result;
  };
  Rng rng(6);
  for (int i = 0; i < 1000; ++i) {
    const auto [child, op] = space.mutate(parent, {}, rng);
    if (op != Operator::Move && op != Operator::Swap) continue;
    EXPECT_EQ(sorted(space.resolve(child)), sorted(space.resolve(parent)));
  }
}

TEST(Mutate, ReachesEveryBlockFromAnyOther) {
  const Space space = read_space(small_space());
  Rng rng(8);
  std::set<std::string> seen;
  Point point = space.sample(rng);
  for (int i = 0; i < 40'000; ++i) {
    point = space.mutate(point, {}, rng).child;
    seen.insert(spec_hash(space.resolve(point)));
  }
  EXPECT_EQ(static_cast<double>(seen.size()), space.size().distinct);
}

TEST(Mutate, IsAPureFunctionOfItsArguments) {
  for_mutations(50, [](const Space& space, const Point& parent, const Point& mate, const Point&,
                       const std::string&) {
    Rng a(5), b(5);
    const Mutation first = space.mutate(parent, mate, a), second = space.mutate(parent, mate, b);
    EXPECT_EQ(first.child, second.child);
    EXPECT_EQ(first.op, second.op);
  });
}

TEST(Mutate, RefusesASpaceOfOneBlock) {
  const Space space =
      read_space({{"format", "moebius.space/1"},
                  {"name", "one"},
                  {"block", {{"sublayers", 2}, {"stacks", 1}}},
                  {"knobs", {{"d_model", {{"per", "block"}, {"choices", {8}}}}}},
                  {"fixed", {{"type", "ffn"}, {"d_ffn", 8}, {"activation", "relu"}}}});
  EXPECT_EQ(space.size().distinct, 1);
  Rng rng(1);
  EXPECT_EQ(error_of([&] { space.mutate({0}, {}, rng); }),
            "one: the space holds one block only; nothing can be mutated");
}

}  // namespace
}  // namespace moebius
