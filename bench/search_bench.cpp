#include <benchmark/benchmark.h>
#include <fcntl.h>
#include <unistd.h>

#include <array>
#include <cstdlib>
#include <filesystem>
#include <memory>
#include <string>
#include <vector>

#include "model/catalog.h"
#include "search/results/results_db.h"
#include "search/samplers/sampler.h"
#include "space/space.h"

// What the search itself costs a trial: a proposal, by sampler and number of trials before it, and
// the durable verbs of its life, by database. `raw_sync` is what the disk takes for one synced 4
// KiB write: compare the verbs with it within one run only.

namespace moebius {
namespace {

const Catalog& catalog() {
  static const Catalog all;
  return all;
}

const Space& bench_space() {
  static const Space space = load_space("brainformer-nano", catalog().types);
  return space;
}

Trial make_trial(std::int64_t number) {
  Trial trial;
  trial.number = number;
  trial.role = TrialRole::Search;
  Rng rng(static_cast<std::uint64_t>(number));
  trial.point = bench_space().sample(rng);
  trial.spec = bench_space().resolve(trial.point);
  trial.spec_hash = spec_hash(trial.spec);
  return trial;
}

Outcome make_outcome(std::int64_t number) {
  Outcome outcome;
  outcome.ending = Ending::Done;
  outcome.measurement.loss = 2 + Rng(static_cast<std::uint64_t>(number)).uniform();
  for (std::int64_t step = 1; step <= 16; ++step) outcome.curve.push_back({step, 3, 3, 1});
  return outcome;
}

class ScratchFolder {
 public:
  ScratchFolder() {
    std::string name = (std::filesystem::temp_directory_path() / "moebius-bench-XXXXXX").string();
    path_ = mkdtemp(name.data());
  }
  ~ScratchFolder() { std::filesystem::remove_all(path_); }
  std::string file(const std::string& name) const { return path_ + "/" + name; }

 private:
  std::string path_;
};

void propose(benchmark::State& state, const std::string& name) {
  std::vector<Trial> trials;
  for (std::int64_t i = 0; i < state.range(0); ++i) {
    Trial& trial = trials.emplace_back(make_trial(i));
    trial.state = TrialState::Done;
    trial.outcome = make_outcome(i);
  }
  std::vector<const Trial*> visible;
  for (const Trial& trial : trials) visible.push_back(&trial);
  const SamplerPlugin& plugin = samplers().get(name);
  const auto sampler = plugin.make(plugin.defaults ? plugin.defaults(state.range(0)) : Fields());
  Rng rng(1);
  for (auto _ : state)
    benchmark::DoNotOptimize(sampler->propose({bench_space(), visible, state.range(0)}, rng));
}

// propose, claim, finish with a curve of 16 points: three commits.
void trial_life(benchmark::State& state, const std::string& name) {
  const ScratchFolder folder;
  const auto db = open_db(name + ":" + folder.file("r.db"), OpenMode::Create);
  StudySettings settings;
  settings.name = "bench";
  settings.space = bench_space().document();
  const std::int64_t study = db->open_study(settings, true).id;
  std::int64_t number = 0;
  for (auto _ : state) {
    std::vector<Trial> trials{make_trial(number)};
    db->propose(study, trials, 0);
    const TrialKey key{study, number};
    db->finish(key, db->claim(key, "bench"), make_outcome(number++));
  }
  state.SetItemsProcessed(number);
}

void raw_sync(benchmark::State& state) {
  const ScratchFolder folder;
  const int file = open(folder.file("raw").c_str(), O_CREAT | O_WRONLY, 0600);
  const std::array<char, 4096> page{};
  for (auto _ : state)
    if (pwrite(file, page.data(), page.size(), 0) < 0 || fdatasync(file) != 0)
      state.SkipWithError("cannot write");
  close(file);
}

const bool kRegistered = [] {
  for (const std::string& name : samplers().names())
    benchmark::RegisterBenchmark(("propose/" + name).c_str(), propose, name)
        ->Arg(100)
        ->Arg(10'000)
        ->Unit(benchmark::kMicrosecond);
  for (const std::string& name : dbs().names())
    benchmark::RegisterBenchmark(("trial_life/" + name).c_str(), trial_life, name)
        ->Unit(benchmark::kMicrosecond)
        ->UseRealTime();
  benchmark::RegisterBenchmark("raw_sync", raw_sync)->Unit(benchmark::kMicrosecond)->UseRealTime();
  return true;
}();

}  // namespace
}  // namespace moebius
