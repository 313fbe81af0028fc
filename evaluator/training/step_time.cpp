#include "evaluator/training/step_time.h"

#include <time.h>

#include <algorithm>

#include "model/learner.h"

namespace moebius {
namespace {

constexpr std::int64_t kWarmUp = 2, kLeast = 5, kMost = 200;  // samples
constexpr std::int64_t kSchedule = 1000;  // steps that timed learners are told of

double clock_seconds(clockid_t id) {
  timespec now{};
  clock_gettime(id, &now);
  return static_cast<double>(now.tv_sec) + 1e-9 * static_cast<double>(now.tv_nsec);
}

// The value below which a share of the samples lies.
double quantile(std::vector<double> samples, double share) {
  const auto at = static_cast<std::ptrdiff_t>(share * static_cast<double>(samples.size() - 1));
  std::nth_element(samples.begin(), samples.begin() + at, samples.end());
  return samples[static_cast<std::size_t>(at)];
}

// Steps of one learner and what each took.
class Samples {
 public:
  Samples(Learner& learner, const Timing& timing) : learner_(learner), timing_(timing) {}

  void step(const TokenWindows& batch, std::int64_t t) {
    const double start = now();
    learner_.train(batch.tokens, batch.targets, t, kSchedule);
    seconds_.push_back(now() - start);
  }
  void forget() { seconds_.clear(); }
  const std::vector<double>& seconds() const { return seconds_; }

 private:
  double now() const { return timing_.wall ? wall_seconds() : CpuClock(timing_.threads).seconds(); }

  Learner& learner_;
  const Timing& timing_;
  std::vector<double> seconds_;
};

// The same batches to each in turn.
void take_samples(std::vector<Samples*> all, const Timing& timing) {
  const CpuClock clock(timing.threads);
  TokenWindows batch;
  double end = 0;
  for (std::int64_t t = 0; t < kWarmUp + kMost; ++t) {
    if (t == kWarmUp) {
      end = clock.seconds() + timing.seconds;
      for (Samples* samples : all) samples->forget();
    }
    if (t >= kWarmUp + kLeast && clock.seconds() >= end) return;
    timing.corpus.train_batch(0, t, timing.recipe.batch, timing.recipe.seq, batch);
    for (Samples* samples : all) samples->step(batch, t);
  }
}

}  // namespace

double CpuClock::seconds() const {
  return clock_seconds(threads_ == 1 ? CLOCK_THREAD_CPUTIME_ID : CLOCK_PROCESS_CPUTIME_ID);
}

double wall_seconds() { return clock_seconds(CLOCK_MONOTONIC); }

StepRatio ratio_of(const std::vector<double>& candidate, const std::vector<double>& baseline) {
  std::vector<double> ratios;
  for (std::size_t i = 0; i < candidate.size(); ++i) ratios.push_back(candidate[i] / baseline[i]);
  return {quantile(ratios, 0.5), quantile(ratios, 0.25), quantile(ratios, 0.75),
          static_cast<int>(ratios.size())};
}

std::string why_too_slow(const StepRatio& ratio, std::optional<double> limit) {
  if (!limit || ratio.pairs == 0 || ratio.low <= *limit) return "";
  return fmt::format(
      "step time {:.2f}x the baseline's ({:.2f}-{:.2f} over {} pairs); allowed: {:.2f}x",
      ratio.median, ratio.low, ratio.high, ratio.pairs, *limit);
}

double time_steps(Learner& learner, const Timing& timing) {
  Samples samples(learner, timing);
  take_samples({&samples}, timing);
  return quantile(samples.seconds(), 0.5);
}

StepRatio compare_steps(Learner& candidate, Learner& baseline, const Timing& timing) {
  Samples a(candidate, timing), b(baseline, timing);
  take_samples({&a, &b}, timing);
  return ratio_of(a.seconds(), b.seconds());
}

}  // namespace moebius
