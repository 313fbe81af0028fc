#include <benchmark/benchmark.h>
#include <fcntl.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <chrono>
#include <cstdlib>
#include <filesystem>
#include <memory>
#include <stdexcept>
#include <string>
#include <vector>

#include "model/catalog.h"
#include "search/results/results_db.h"
#include "search/samplers/sampler.h"
#include "space/space.h"

// What the search itself costs a trial: a proposal, by sampler and number of trials before it, and
// the durable verbs of its life, by database; and what a long study costs, by its length.
// `raw_sync` is what the disk takes for one synced 4 KiB write: compare the verbs with it within
// one run only.

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
  const auto youngest = [&](std::size_t count) {
    const auto size = static_cast<std::ptrdiff_t>(std::min(count, visible.size()));
    return std::vector<const Trial*>(visible.end() - size, visible.end());
  };
  const SamplerPlugin& plugin = samplers().get(name);
  const auto sampler = plugin.make(plugin.defaults ? plugin.defaults(state.range(0)) : Fields());
  Rng rng(1);
  for (auto _ : state)
    benchmark::DoNotOptimize(sampler->propose({bench_space(), youngest, state.range(0)}, rng));
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

struct Usage {
  double cpu_seconds = 0, wall_seconds = 0, peak_mib = 0;
};

// `moebius ARGS` to its end, in a process of its own.
Usage run_moebius(const ScratchFolder& folder, const std::string& args) {
  const std::string line =
      fmt::format("cd {} && exec {} {} >out 2>&1", folder.file(""), MOEBIUS_BINARY, args);
  const auto begin = std::chrono::steady_clock::now();
  const pid_t child = fork();
  if (child == 0) {
    execl("/bin/sh", "sh", "-c", line.c_str(), nullptr);
    _exit(127);
  }
  int status = -1;
  rusage usage{};
  wait4(child, &status, 0, &usage);
  if (status != 0) throw std::runtime_error("failed: " + line);
  const auto seconds = [](const timeval& time) {
    return static_cast<double>(time.tv_sec) + static_cast<double>(time.tv_usec) * 1e-6;
  };
  const std::chrono::duration<double> wall = std::chrono::steady_clock::now() - begin;
  return {seconds(usage.ru_utime) + seconds(usage.ru_stime), wall.count(),
          static_cast<double>(usage.ru_maxrss) / 1024};
}

// What a long study costs: a search of N synthetic trials in tenths, each of which resumes the
// study (its counters: CPU ms a trial), then the commands on the result (wall seconds).
void long_study(benchmark::State& state) {
  for (auto _ : state) {
    const ScratchFolder folder;
    const std::string study = " --db r.db --study s";
    const std::int64_t tenth = state.range(0) / 10;
    const auto search = [&](std::int64_t trials) {
      return run_moebius(folder, fmt::format("search --space brainformer-mini --evaluator synthetic"
                                             " --budget 300ktok --lag 64 --trials {}{}",
                                             trials, study));
    };
    double peak = 0, first = 0, last = 0;
    for (std::int64_t i = 1; i <= 10; ++i) {
      const Usage usage = search(i * tenth);
      last = 1000 * usage.cpu_seconds / static_cast<double>(tenth);
      if (i == 1) first = last;
      peak = std::max(peak, usage.peak_mib);
      state.counters[fmt::format("cpu_ms_{:02}", i)] = last;
    }
    state.counters["last_over_first"] = last / first;
    state.counters["peak_MiB"] = peak;
    state.counters["resume_s"] = search(10 * tenth).wall_seconds;
    state.counters["top_s"] = run_moebius(folder, "top" + study).wall_seconds;
    state.counters["trials_s"] = run_moebius(folder, "trials --limit 10" + study).wall_seconds;
    state.counters["studies_s"] = run_moebius(folder, "studies --db r.db").wall_seconds;
    state.counters["show_s"] = run_moebius(folder, "show 7" + study).wall_seconds;
    const Usage ask = run_moebius(folder, fmt::format("ask --trials {}{}", 10 * tenth + 1, study));
    const auto number = state.range(0) + 3;  // three baselines come first
    const Usage tell = run_moebius(folder, fmt::format("tell {} --loss 2{}", number, study));
    state.counters["ask_tell_s"] = ask.wall_seconds + tell.wall_seconds;
  }
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
  benchmark::RegisterBenchmark("long_study", long_study)
      ->Arg(10'000)
      ->Arg(100'000)
      ->Iterations(1)
      ->Unit(benchmark::kSecond)
      ->UseRealTime();
  benchmark::RegisterBenchmark("raw_sync", raw_sync)->Unit(benchmark::kMicrosecond)->UseRealTime();
  return true;
}();

}  // namespace
}  // namespace moebius
