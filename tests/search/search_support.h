#pragma once
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cmath>
#include <cstdlib>
#include <filesystem>
#include <functional>
#include <memory>
#include <random>
#include <string>
#include <thread>
#include <tuple>
#include <vector>

#include "search/results/builtin_catalog.h"
#include "search/study/stored.h"
#include "search/study/study.h"
#include "tests/support/folder.h"
#include "tests/support/places.h"

namespace moebius::testing_support {

inline const LayerTypes& types() { return builtin_catalog().types; }

// 4 sub-layers of attention and dense FFN, 2 widths: 16 * 2 * 4 points.
inline Json small_space_document() {
  return {{"format", "moebius.space/1"},
          {"name", "small"},
          {"block", {{"sublayers", 4}, {"stacks", 2}}},
          {"scale", "nano"},
          {"knobs",
           {{"type", {{"per", "sublayer"}, {"choices", {"attn", "ffn"}}}},
            {"d_model", {{"per", "block"}, {"choices", {32, 48}}}},
            {"d_ffn", {{"per", "block"}, {"choices", {64, 96, 128, 192}}}}}},
          {"fixed", {{"heads", 2}, {"head_dim", 16}, {"activation", "gelu"}}},
          {"recipe", {{"batch", 8}, {"seq", 32}, {"micro_batch", 8}}},
          {"constraints", Json::array()},
          {"baseline", {"dense", "llama"}}};
}
inline Space small_space() { return Space::read(small_space_document(), "small.json", types()); }

inline Space read_space(const Json& document) {
  return Space::read(document, "test.json", types());
}

inline StudyConfig study_config(const Space& space, std::int64_t trials,
                                const std::string& name = "first") {
  StudyConfig config;
  config.name = name;
  config.space = space;
  config.recipe = space.recipe();
  config.seed = 7;
  config.budget = parse_budget("100steps");
  config.trials = trials;
  config.vocab = 256;
  config.baselines = space_baselines(space, types());
  return config;
}

inline StudySettings study_settings(const Space& space, std::int64_t trials,
                                    const std::string& name = "first") {
  return settings_of(study_config(space, trials, name), Json::object());
}

// A loss by the block and the seed, in no order of time: each evaluation sleeps a random while.
class FakeEvaluator : public Evaluator {
 public:
  std::int64_t vocab() const override { return 256; }
  Prepared prepare(const Candidate& candidate) const override {
    Prepared prepared;
    prepared.peak_bytes = bytes(candidate);
    return prepared;
  }
  double step_seconds(const Spec&, const Recipe&, bool wall) override {
    ++timings;
    return wall ? 0.03 : 0.01;
  }
  Outcome evaluate(const Candidate& candidate, const Prepared&, Observer& observer) override {
    observer.planned({.steps = candidate.fixed_steps > 0 ? candidate.fixed_steps : 100});
    if (max_sleep > 0) {
      thread_local std::mt19937 clock{std::random_device{}()};
      std::this_thread::sleep_for(std::chrono::microseconds(clock() % max_sleep));
    }
    return outcome(candidate);
  }
  static Outcome done(const Candidate& candidate) {
    Outcome outcome;
    outcome.ending = Ending::Done;
    Rng rng = Rng(candidate.seed).split(spec_hash(candidate.spec));
    outcome.measurement.loss = 2 + rng.uniform();
    outcome.measurement.steps = 100;
    outcome.measurement.causal = "yes";
    outcome.curve = {{50, 3, 3, 0.5}, {100, 2.5, outcome.measurement.loss, 1}};
    return outcome;
  }

  unsigned max_sleep = 0;  // microseconds
  std::atomic<int> timings{0};
  std::function<Outcome(const Candidate&)> outcome = done;
  std::function<std::int64_t(const Candidate&)> bytes = [](const Candidate&) { return 1000; };
};

// What must not depend on workers, crashes or time.
using TableRow = std::tuple<std::int64_t, std::string, std::string, std::string, std::int64_t,
                            std::string, std::uint64_t, double>;
inline std::vector<TableRow> table(const History& history) {
  std::vector<TableRow> rows;
  for (const Trial& trial : history.trials())
    rows.emplace_back(trial.number, role_text(trial.role), trial.spec_hash, state_text(trial.state),
                      trial.parent, operator_text(trial.op), trial.seed,
                      std::isnan(trial.loss()) ? -1 : trial.loss());
  return rows;
}

// The code of the Error that `work` throws; nothing thrown is Done. `line` gets its text.
template <class Work>
Exit error_code(Work&& work, std::string* line = nullptr) {
  try {
    work();
  } catch (const Error& error) {
    if (line) *line = error.what();
    return error.code();
  }
  return Exit::Done;
}

}  // namespace moebius::testing_support
