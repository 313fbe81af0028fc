// How often verdicts and ranks are wrong, by simulation: statistics_check [REPLICATIONS]. Markdown
// on stdout, as in results/statistics.md. The short form is tests/search/deviations_test.cpp.
#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <functional>
#include <string>
#include <vector>

#include "search/report/leaderboard.h"
#include "space/base/rng.h"

namespace moebius {
namespace {

constexpr double kMedian = 0.0117;

// Deviations of blocks.
struct Population {
  std::string name;
  std::function<double(Rng&)> draw;
};

Population log_normal(double spread) {
  return {fmt::format("log-normal {:g}", spread),
          [spread](Rng& rng) { return kMedian * std::exp(spread * rng.normal()); }};
}

// Heavier towards large deviations than the model of Deviations.
Population inverse_chi_square(int degrees) {
  return {fmt::format("inverse chi-square {}", degrees), [degrees](Rng& rng) {
            double squares = 0;
            for (int i = 0; i < degrees; ++i) squares += std::pow(rng.normal(), 2);
            return kMedian * std::sqrt(degrees / squares);
          }};
}

std::vector<double> losses(Rng& rng, double mean, double sd, int seeds) {
  std::vector<double> result;
  for (int i = 0; i < seeds; ++i) result.push_back(mean + sd * rng.normal());
  return result;
}

Estimate estimate(const std::vector<double>& values) {
  const Summary summary = summarize(values);
  return {summary.mean, summary.n, summary.n > 1 ? summary.sd : 0, summary.n - 1};
}

// 1. How well a log-normal spread of deviations explains seven blocks with four seeds each whose
// deviations went from 0.0016 to 0.0855 and for which Bartlett's statistic was 32.5.
void print_likelihoods(int replications) {
  constexpr int kBlocks = 7, kDegrees = 3;
  constexpr double kBartlett = 32.5;
  const double range = std::log(0.0855 / 0.0016);
  const double correction =
      1 + (static_cast<double>(kBlocks) / kDegrees - 1.0 / (kBlocks * kDegrees)) /
              (3.0 * (kBlocks - 1));
  fmt::print("| spread | likelihood, 1e-4 |\n|---|---|\n");
  for (const double spread : {0.0, 0.25, 0.5, 0.75, 1.0, 1.25, 1.5, 1.75, 2.0, 2.5}) {
    int alike = 0;
    const Population population = log_normal(spread);
    for (int i = 0; i < replications; ++i) {
      Rng rng = Rng(40).split("seven", static_cast<std::uint64_t>(i));
      double mean = 0, mean_log = 0, low = INFINITY, high = 0;
      for (int block = 0; block < kBlocks; ++block) {
        const double sd = estimate(losses(rng, 0, population.draw(rng), kDegrees + 1)).sd;
        mean += sd * sd / kBlocks;
        mean_log += 2 * std::log(sd) / kBlocks;
        low = std::min(low, sd);
        high = std::max(high, sd);
      }
      const double bartlett = kBlocks * kDegrees * (std::log(mean) - mean_log) / correction;
      alike += std::abs(bartlett - kBartlett) < 3 && std::abs(std::log(high / low) - range) < 0.3;
    }
    fmt::print("| {:g} | {:.0f} |\n", spread, 1e4 * alike / replications);
  }
}

// 2. One verdict.
struct Design {
  std::vector<int> seeds;  // of the block, then of the baselines
  double lead = 0;         // in deviations, root mean square of both blocks
};

struct Rates {
  double apart = 0, worst = 0, covered = 0, found = 0;
};

Rates rates(const Population& population, const Design& design, int replications) {
  std::vector<std::pair<double, bool>> studies;
  Rates rates;
  for (int i = 0; i < replications; ++i) {
    Rng rng = Rng(41).split("verdict", static_cast<std::uint64_t>(i));
    std::vector<double> sds, means;
    std::vector<Estimate> blocks;
    for (std::size_t k = 0; k < design.seeds.size(); ++k) {
      sds.push_back(population.draw(rng));
      means.push_back(k == 0 ? 0
                             : design.lead * std::sqrt((sds[0] * sds[0] + sds[k] * sds[k]) / 2));
      blocks.push_back(estimate(losses(rng, means[k], sds[k], design.seeds[k])));
    }
    const std::vector<Estimate> others(blocks.begin() + 1, blocks.end());
    const std::vector<double> reaches =
        Deviations(blocks).reaches(blocks[0], others, kVerdictError);
    bool apart = false, covered = true;
    for (std::size_t k = 0; k < others.size(); ++k) {
      const double gain = others[k].mean - blocks[0].mean;
      apart |= std::abs(gain) > reaches[k];
      covered &= std::abs(gain - means[k + 1]) <= reaches[k];
      rates.found += (gain > reaches[k]) / static_cast<double>(others.size() * replications);
    }
    rates.apart += 1.0 * apart / replications;
    rates.covered += 1.0 * covered / replications;
    studies.emplace_back(*std::max_element(sds.begin(), sds.end()), apart);
  }
  std::stable_sort(studies.begin(), studies.end(),
                   [](const auto& left, const auto& right) { return left.first < right.first; });
  for (int tenth = 0; tenth < 10; ++tenth) {
    const auto from = studies.begin() + tenth * replications / 10,
               to = studies.begin() + (tenth + 1) * replications / 10;
    const auto wrong = std::count_if(from, to, [](const auto& study) { return study.second; });
    rates.worst =
        std::max(rates.worst, static_cast<double>(wrong) / static_cast<double>(to - from));
  }
  return rates;
}

void print_verdicts(int replications) {
  fmt::print(
      "\n| deviations | seeds: block, baselines | equal blocks told apart | in the worst tenth | "
      "intervals hold | lead of 3 found |\n|---|---|---|---|---|---|\n");
  for (const Population& population :
       {log_normal(1.25), log_normal(0.75), log_normal(0), inverse_chi_square(1)})
    for (const std::vector<int>& seeds :
         {std::vector{1, 2}, {1, 4}, {1, 8}, {2, 2}, {4, 4}, {8, 8}, {4, 4, 4}, {4, 4, 4, 4}}) {
      const Rates equal = rates(population, {seeds}, replications),
                  lead = rates(population, {seeds, 3}, replications);
      fmt::print("| {} | {} | {:.1f} % | {:.1f} % | {:.1f} % | {:.0f} % |\n", population.name,
                 fmt::join(seeds, " "), 100 * equal.apart, 100 * equal.worst, 100 * equal.covered,
                 100 * lead.found);
    }
}

// 3. A whole study: 20 search trials, of which the best is trained with further seeds, as three
// baselines are. One trial, which need not come out best, may have a true lead.
struct StudyRates {
  double claims = 0, told_apart = 0, ranked_apart = 0;
};

class SimulatedStudy {
 public:
  explicit SimulatedStudy(Rng rng) : rng_(rng) {}

  void add(TrialRole role, const std::string& block, double mean, double sd) {
    Trial trial;
    trial.number = history_.size();
    trial.role = role;
    trial.spec_hash = block;
    if (role == TrialRole::Baseline) trial.label = block;
    trial.state = TrialState::Done;
    trial.outcome.emplace().ending = Ending::Done;
    trial.outcome->measurement.loss = mean + sd * rng_.normal();
    history_.add(trial);
  }
  Rng& rng() { return rng_; }
  const History& history() const { return history_; }

 private:
  Rng rng_;
  History history_;
};

StudyRates study_rates(const Population& population, double lead, int fresh, int replications) {
  constexpr int kBaselines = 3, kTrials = 20;
  StudyRates rates;
  for (int i = 0; i < replications; ++i) {
    SimulatedStudy study(Rng(42).split("study", static_cast<std::uint64_t>(i)));
    std::vector<double> sds, means(kBaselines + kTrials);
    for (std::size_t block = 0; block < means.size(); ++block)
      sds.push_back(population.draw(study.rng()));
    means[kBaselines] = -lead * std::sqrt((std::pow(sds[0], 2) + std::pow(sds[kBaselines], 2)) / 2);
    const auto add = [&](TrialRole role, int block) {
      const auto at = static_cast<std::size_t>(block);
      study.add(role, fmt::format("block{}", block), 3 + means[at], sds[at]);
    };
    for (int block = 0; block < kBaselines + kTrials; ++block)
      add(block < kBaselines ? TrialRole::Baseline : TrialRole::Search, block);
    std::vector<int> again = {0, 1, 2, static_cast<int>(rank_blocks(study.history()).best->number)};
    for (const int block : again)
      for (int seed = 0; seed < fresh; ++seed) add(TrialRole::Noise, block);
    const Leaderboard board = leaderboard(study.history());
    bool claims = false, apart = false;
    for (const Contrast& contrast : board.verdict.contrasts) {
      claims |= contrast.apart() && contrast.gain > 0;
      apart |= contrast.apart();
    }
    rates.claims += 1.0 * claims / replications;
    rates.told_apart += 1.0 * apart / replications;
    rates.ranked_apart += 1.0 * (board.rows.back().rank > 1) / replications;
  }
  return rates;
}

void print_studies(int replications) {
  fmt::print(
      "\n| deviations | further seeds | true lead | a block is claimed to beat a baseline | told "
      "apart from one | blocks ranked apart |\n|---|---|---|---|---|---|\n");
  for (const Population& population : {log_normal(0), log_normal(1.25)})
    for (const int fresh : {3, 4})
      for (const double lead : {0.0, 1.6, 3.0}) {
        const StudyRates rates = study_rates(population, lead, fresh, replications);
        fmt::print("| {} | {} | {:g} | {:.1f} % | {:.1f} % | {:.1f} % |\n", population.name, fresh,
                   lead, 100 * rates.claims, 100 * rates.told_apart, 100 * rates.ranked_apart);
      }
}

}  // namespace
}  // namespace moebius

int main(int argc, char** argv) {
  const int replications = argc > 1 ? std::max(10, std::atoi(argv[1])) : 4000;
  std::setvbuf(stdout, nullptr, _IOLBF, 0);  // a long run is watched
  moebius::print_likelihoods(50 * replications);
  moebius::print_verdicts(replications);
  moebius::print_studies(replications / 2);
}
