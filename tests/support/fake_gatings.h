#pragma once
#include <algorithm>
#include <array>
#include <cstdint>
#include <vector>

#include "tests/support/catalog.h"

namespace moebius::testing_support {

// A gating that reads token ids and fills the routing on the host: at most one expert per token,
// gate 1, no parameters. Its load [1, E] counts the pairs of a step; share [1, E] is the last
// step's load over its sum.
class HostGating : public Gating {
 public:
  // The expert of each token, -1 = dropped.
  using Choose = std::vector<std::int64_t> (*)(const std::vector<std::int32_t>& ids,
                                               const TokenShape& shape, std::int64_t experts);

  // `ranked`: in Mode::Causal.
  HostGating(const GatingSite& site, Choose choose, Choose ranked, Params& params)
      : site_(site), choose_(choose), ranked_(ranked), params_(params) {}

  void declare_state(Params& params) override {
    const auto declare = [&](const char* name, Role role) {
      return params.declare({.name = site_.name + name,
                             .rows = 1,
                             .cols = site_.experts,
                             .role = role,
                             .init = Init::constant(0)});
    };
    load_ = declare(".load", Role::Sum);
    share_ = declare(".share", Role::State);
  }

  std::int64_t bound(Mode, const TokenShape& shape) const override { return shape.tokens(); }

  const void* route(Step& step, View, Routing& r) const override {
    std::vector<std::int32_t> ids(static_cast<std::size_t>(step.tokens.rows));
    step.backend.memory.read(step.tokens, ids.data());
    const std::vector<std::int64_t> expert =
        (step.mode == Mode::Causal ? ranked_ : choose_)(ids, step.shape, site_.experts);
    std::vector<std::int32_t> offset = {0}, token, choice(ids.size()), row(ids.size(), -1);
    for (std::int64_t e = 0; e < site_.experts; ++e) {
      for (std::size_t t = 0; t < ids.size(); ++t) {
        if (expert[t] != e) continue;
        row[t] = static_cast<std::int32_t>(token.size());
        choice[t] = static_cast<std::int32_t>(e);
        token.push_back(static_cast<std::int32_t>(t));
      }
      offset.push_back(static_cast<std::int32_t>(token.size()));
    }
    if (step.training() && !step.arena.dry()) add_load(step.backend, offset);
    std::array<double, 4> statistics;
    step.backend.memory.read(step.statistics, statistics.data());
    statistics[2] += static_cast<double>(token.size());
    statistics[3] += static_cast<double>(ids.size() - token.size());
    step.backend.memory.write(step.statistics, statistics.data());
    token.resize(ids.size());
    step.backend.memory.write(r.offset, offset.data());
    step.backend.memory.write(r.token, token.data());
    step.backend.memory.write(r.choice, choice.data());
    step.backend.memory.write(r.row, row.data());
    step.backend.memory.fill(r.weight, 1);
    return nullptr;
  }

  void backward(Step&, const void*, View, const Routing&, View, View) const override {}

  void end_step(Backend& backend) const override {
    std::vector<double> load = read(backend, load_);
    double sum = 0;
    for (const double pairs : load) sum += pairs;
    for (double& pairs : load) pairs /= sum;
    write(backend, share_, load);
    backend.memory.fill(params_.value(load_), 0);
  }

 private:
  void add_load(Backend& backend, const std::vector<std::int32_t>& offset) const {
    std::vector<double> load = read(backend, load_);
    for (std::size_t e = 0; e < load.size(); ++e)
      load[e] += static_cast<double>(offset[e + 1] - offset[e]);
    write(backend, load_, load);
  }

  std::vector<double> read(Backend& backend, Weight weight) const {
    const View view = params_.value(weight);
    std::vector<double> values(static_cast<std::size_t>(view.size()));
    if (view.dtype == Dtype::F64) {
      backend.memory.read(view, values.data());
      return values;
    }
    std::vector<float> narrow(values.size());
    backend.memory.read(view, narrow.data());
    return {narrow.begin(), narrow.end()};
  }

  void write(Backend& backend, Weight weight, const std::vector<double>& values) const {
    const View view = params_.value(weight);
    if (view.dtype == Dtype::F64) return backend.memory.write(view, values.data());
    std::vector<float> narrow;
    for (const double value : values) narrow.push_back(static_cast<float>(value));
    backend.memory.write(view, narrow.data());
  }

  GatingSite site_;
  Choose choose_, ranked_;
  const Params& params_;
  Weight load_, share_;
};

inline GatingPlugin host_gating(HostGating::Choose choose, Causality declared,
                                HostGating::Choose ranked = nullptr) {
  GatingPlugin plugin;
  plugin.help = "for tests";
  plugin.rate_group = {"host", 3};
  plugin.choices = 1;
  plugin.pairs_per_token = [](double) { return 1.0; };
  plugin.operations = [](const GatingSite&, const TokenShape&) { return std::vector<Operation>(); };
  plugin.why_illegal = [](const GatingSite& site, const TokenShape&) -> std::string {
    return site.experts <= 16 ? "" : "experts: a host counts up to 16";
  };
  plugin.causality = [declared](const GatingSite&, const TokenShape&) { return declared; };
  if (ranked == nullptr) ranked = choose;
  plugin.make = [choose, ranked](const GatingSite& site,
                                 Params& params) -> std::unique_ptr<Gating> {
    return std::make_unique<HostGating>(site, choose, ranked, params);
  };
  return plugin;
}

// By the token's own id (a hash layer, 2106.04426).
inline std::vector<std::int64_t> by_own_id(const std::vector<std::int32_t>& ids, const TokenShape&,
                                           std::int64_t experts) {
  std::vector<std::int64_t> result;
  for (const std::int32_t id : ids) result.push_back(id % experts);
  return result;
}

// By the id of the next token in the sequence: it sees the future.
inline std::vector<std::int64_t> by_next_id(const std::vector<std::int32_t>& ids,
                                            const TokenShape& shape, std::int64_t experts) {
  std::vector<std::int64_t> result;
  for (std::size_t t = 0; t < ids.size(); ++t) {
    const bool last = static_cast<std::int64_t>(t + 1) % shape.seq == 0;
    result.push_back(ids[last ? t : t + 1] % experts);
  }
  return result;
}

// By the token's own id, but of a sequence an expert takes the last token alone.
inline std::vector<std::int64_t> last_of_own_id(const std::vector<std::int32_t>& ids,
                                                const TokenShape& shape, std::int64_t experts) {
  std::vector<std::int64_t> result = by_own_id(ids, shape, experts);
  const auto seq = static_cast<std::size_t>(shape.seq);
  for (std::size_t t = 0; t < ids.size(); ++t)
    for (std::size_t later = t + 1; later / seq == t / seq && later < ids.size(); ++later)
      if (result[later] == ids[t] % experts) result[t] = -1;
  return result;
}

}  // namespace moebius::testing_support
