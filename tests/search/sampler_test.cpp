#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <deque>
#include <fstream>
#include <map>
#include <sstream>

#include "search_support.h"

namespace moebius {
namespace {

using namespace testing_support;

Trial finished(const Space& space, const Point& point, std::int64_t number, double loss) {
  Trial trial;
  trial.number = number;
  trial.role = TrialRole::Search;
  trial.state = TrialState::Done;
  trial.point = point;
  trial.spec = space.resolve(point);
  trial.spec_hash = spec_hash(trial.spec);
  trial.outcome.emplace();
  trial.outcome->ending = Ending::Done;
  trial.outcome->measurement.loss = loss;
  return trial;
}

// With the options of a study of so many search trials.
std::unique_ptr<Sampler> make_sampler(const std::string& name, std::int64_t trials = 40) {
  const SamplerPlugin& plugin = samplers().get(name);
  return plugin.make(plugin.defaults ? plugin.defaults(trials) : Fields());
}

// 30 finished trials of random blocks.
std::vector<Trial> some_trials(const Space& space) {
  std::vector<Trial> trials;
  Rng rng(1);
  for (int i = 0; i < 30; ++i)
    trials.push_back(finished(space, space.sample(rng), i, rng.uniform()));
  return trials;
}

std::vector<const Trial*> pointers(const std::vector<Trial>& trials) {
  std::vector<const Trial*> result;
  for (const Trial& trial : trials) result.push_back(&trial);
  return result;
}

// What SamplerView::youngest answers.
std::function<std::vector<const Trial*>(std::size_t)> youngest_of(
    const std::vector<const Trial*>& visible) {
  return [&visible](std::size_t count) {
    const std::size_t left = visible.size() - std::min(visible.size(), count);
    return std::vector<const Trial*>(visible.begin() + static_cast<std::ptrdiff_t>(left),
                                     visible.end());
  };
}

class SamplerContract : public ::testing::TestWithParam<std::string> {
 protected:
  std::unique_ptr<Sampler> sampler = make_sampler(GetParam());
  Space space = small_space();
  std::vector<Trial> trials = some_trials(space);
  std::vector<const Trial*> visible = pointers(trials);
};

TEST_P(SamplerContract, PointsAreInTheSpaceAndParentsAreVisible) {
  for (const std::size_t known : {0, 1, 2, 30}) {
    const std::vector<const Trial*> some(visible.begin(),
                                         visible.begin() + static_cast<std::ptrdiff_t>(known));
    Rng rng(2);
    for (int i = 0; i < 50; ++i) {
      const Proposal proposal =
          sampler->propose({space, youngest_of(some), static_cast<std::int64_t>(known)}, rng);
      EXPECT_TRUE(space.locate(space.resolve(proposal.point)));
      EXPECT_NE(proposal.op, Operator::None);
      EXPECT_LT(proposal.parent, static_cast<std::int64_t>(known));
    }
  }
}

TEST_P(SamplerContract, IsAFunctionOfViewAndRng) {
  const SamplerView view{space, youngest_of(visible), 30};
  const std::unique_ptr<Sampler> another = make_sampler(GetParam());
  for (std::uint64_t seed = 0; seed < 20; ++seed) {
    Rng first(seed), second(seed);
    sampler->propose(view, first);  // has no memory of what it proposed before
    Rng again(seed);
    const Proposal left = sampler->propose(view, again), right = another->propose(view, second);
    EXPECT_EQ(left.point, right.point);
    EXPECT_EQ(left.parent, right.parent);
    EXPECT_EQ(left.op, right.op);
  }
}

INSTANTIATE_TEST_SUITE_P(All, SamplerContract, ::testing::ValuesIn(samplers().names()),
                         [](const auto& named) { return named.param; });

TEST(Evolution, StartsWithAPopulationOfRandomPoints) {
  const Space space = small_space();
  const std::vector<Trial> trials = some_trials(space);
  const std::vector<const Trial*> visible = pointers(trials);
  const auto sampler = make_sampler("evolution");
  for (std::int64_t index = 0; index < 20; ++index) {
    Rng rng(5);
    EXPECT_EQ(sampler->propose({space, youngest_of(visible), index}, rng).parent < 0, index < 8)
        << index;
  }
}

TEST(Evolution, ParentsAreAmongTheYoungestAndTheBetterOnesOfThem) {
  const Space space = small_space();
  std::vector<Trial> trials = some_trials(space);
  for (Trial& trial : trials)
    trial.outcome->measurement.loss = static_cast<double>(trial.number);  // the oldest is the best
  const std::vector<const Trial*> visible = pointers(trials);
  const auto sampler = make_sampler("evolution");
  std::map<std::int64_t, int> parents;
  Rng rng(5);
  for (int i = 0; i < 400; ++i)
    ++parents[sampler->propose({space, youngest_of(visible), 30}, rng).parent];
  EXPECT_EQ(parents.begin()->first, 22);  // of 40/5 = 8 members, 22 .. 29
  EXPECT_EQ(parents.count(29), 0U);       // the worst loses every tournament of two
  EXPECT_LE(parents.rbegin()->first, 28);
  for (auto parent = parents.begin(); std::next(parent) != parents.end(); ++parent)
    EXPECT_GT(parent->second, std::next(parent)->second - 40);  // in step with the rank, roughly
  EXPECT_GT(parents[22], 2 * parents[28]);
}

TEST(Evolution, PrunedTrialsRankLastAndFailuresAreNoParents) {
  const Space space = small_space();
  std::vector<Trial> trials = some_trials(space);
  for (Trial& trial : trials) {
    trial.state = trial.number % 3 == 0   ? TrialState::Pruned
                  : trial.number % 3 == 1 ? TrialState::Done
                                          : TrialState::Diverged;
    trial.outcome->measurement.stopped_loss = 0;  // better than any finished loss, if it counted
  }
  const std::vector<const Trial*> visible = pointers(trials);
  const auto sampler = make_sampler("evolution");
  int done = 0, pruned = 0;
  Rng rng(5);
  for (int i = 0; i < 400; ++i) {
    const std::int64_t parent = sampler->propose({space, youngest_of(visible), 30}, rng).parent;
    ASSERT_NE(parent % 3, 2);
    (parent % 3 == 0 ? pruned : done)++;
  }
  EXPECT_GT(done, 2 * pruned);
  EXPECT_GT(pruned, 0);
}

TEST(Evolution, AParentWhoseChildrenAllFailAgesOut) {
  const Space space = small_space();
  std::vector<Trial> trials = some_trials(space);
  for (Trial& trial : trials)
    if (trial.number > 0) trial.state = TrialState::Infeasible;
  const auto sampler = make_sampler("evolution");
  for (std::size_t known = 8; known < 30; ++known) {
    std::vector<const Trial*> visible = pointers(trials);
    visible.resize(known);
    Rng rng(1);
    const Proposal proposal = sampler->propose({space, youngest_of(visible), 8}, rng);
    EXPECT_EQ(proposal.parent, known == 8 ? 0 : -1) << known;
  }
}

// The table of NAS-Bench-Macro (8 layers of 3 operations, CIFAR-10, three seeds each; Su et al.
// 2021): accuracies by architecture.
struct MacroTable {
  std::map<std::string, std::vector<double>> accuracy;  // 3 seeds and their mean
  double best = 0;
};

bool read_macro_table(MacroTable& table) {
  std::ifstream file(shared_file("data/tables/nas-bench-macro-cifar10.csv"));
  std::string line;
  std::getline(file, line);
  while (std::getline(file, line)) {
    std::istringstream cells(line);
    std::string arch, cell;
    std::getline(cells, arch, ',');
    std::vector<double>& values = table.accuracy[arch];
    while (values.size() < 4 && std::getline(cells, cell, ',')) values.push_back(std::stod(cell));
    table.best = std::max(table.best, values.back());
  }
  return !table.accuracy.empty();
}

// Three types without fields, 8 positions: the table's space.
Space macro_space(const LayerTypes& three) {
  return Space::read({{"format", "moebius.space/1"},
                      {"name", "macro"},
                      {"block", {{"sublayers", 8}, {"stacks", 1}}},
                      {"scale", "nano"},
                      {"knobs", {{"type", {{"per", "sublayer"}, {"choices", {"x", "y", "z"}}}}}},
                      {"fixed", {{"d_model", 16}}},
                      {"constraints", Json::array()},
                      {"baseline", "dense"}},
                     "macro.json", three);
}

// Mean regret of the incumbent (best observed, one seed an evaluation) after 200 evaluations.
double mean_regret(const std::string& name, const MacroTable& table, const Space& space, int runs) {
  constexpr std::int64_t kEvaluations = 200, kLag = 4, kTrials = 100;
  const auto sampler = make_sampler(name, kTrials);
  double regret = 0;
  for (int run = 0; run < runs; ++run) {
    std::deque<Trial> trials;
    std::vector<const Trial*> visible;
    std::string incumbent;
    double best = 1e9;
    for (std::int64_t i = 0; i < kEvaluations; ++i) {
      if (i >= kLag) visible.push_back(&trials[static_cast<std::size_t>(i - kLag)]);
      Rng rng =
          Rng(static_cast<std::uint64_t>(run)).split("propose", static_cast<std::uint64_t>(i));
      const Proposal proposal = sampler->propose({space, youngest_of(visible), i}, rng);
      std::string arch;
      for (const std::int32_t choice : proposal.point) arch += static_cast<char>('0' + choice);
      const std::vector<double>& seeds = table.accuracy.at(arch);
      const double loss = 100 - seeds[rng.below(3)];
      if (loss < best) {
        best = loss;
        incumbent = arch;
      }
      trials.push_back(finished(space, proposal.point, i, loss));
    }
    regret += table.best - table.accuracy.at(incumbent).back();
  }
  return regret / runs;
}

// search-science.md 3.6: random .257, evolution with 20 members and tournaments of 5 .072.
TEST(Evolution, ReachesThePublishedRegretOnNasBenchMacro) {
  MacroTable table;
  if (!read_macro_table(table))
    GTEST_SKIP() << "no nas-bench-macro-cifar10.csv (set MOEBIUS_SHARED)";
  EXPECT_NEAR(table.best, 93.127, 0.001);
  LayerTypes three("sub-layer type");
  for (const char* name : {"x", "y", "z"}) {
    LayerType type;
    type.name = name;
    type.symbol = name[0];
    type.why_illegal = [](const Fields&, const TokenShape&) { return std::string(); };
    type.operations = [](const Fields&, const TokenShape&) { return std::vector<Operation>(); };
    type.causality = [](const Fields&, const TokenShape&) { return Causality::Yes; };
    three.add(name, type);
  }
  const Space space = macro_space(three);
  const double random = mean_regret("random", table, space, 60);
  const double evolution = mean_regret("evolution", table, space, 60);
  RecordProperty("random", std::to_string(random));
  RecordProperty("evolution", std::to_string(evolution));
  EXPECT_NEAR(random, 0.257, 0.05);
  EXPECT_LT(evolution, 0.11);
}

}  // namespace
}  // namespace moebius
