#include "search/scaling/scaling.h"

#include <algorithm>
#include <cmath>
#include <filesystem>
#include <iterator>

#include "model/learner.h"
#include "search/results/statistics.h"

namespace moebius {
namespace {

constexpr std::int64_t kMicroTokens = 2048;  // of a micro-batch: enough to fill the matmuls

// B and S of the row; the fewest sequences in a micro-batch that make kMicroTokens, or all of them
// where the routing groups of the block span sequences.
Recipe recipe_at(const Recipe& base, const Scale& row, const Spec& spec, const LayerTypes& types) {
  Recipe recipe = base;
  recipe.batch = row.batch;
  recipe.seq = row.seq;
  recipe.micro_batch = row.batch;
  for (std::int64_t m = row.batch; m >= 1; --m)
    if (row.batch % m == 0 && m * row.seq >= kMicroTokens) recipe.micro_batch = m;
  if (!why_illegal(spec, types, recipe).empty()) recipe.micro_batch = row.batch;
  return recipe;
}

// One study trains them all, so they share a recipe: the largest micro-batch that one of them
// needs.
Recipe common_recipe(const std::vector<ScaledBlock>& blocks, const Recipe& base, const Scale& row,
                     const LayerTypes& types) {
  Recipe common = recipe_at(base, row, blocks.front().spec, types);
  for (const ScaledBlock& block : blocks)
    common.micro_batch =
        std::max(common.micro_batch, recipe_at(base, row, block.spec, types).micro_batch);
  for (const ScaledBlock& block : blocks)
    if (const std::string why = why_illegal(block.spec, types, common); !why.empty())
      bad_input(block.name, "is illegal at scale " + row.name + ": " + why);
  return common;
}

// The blocks that were searched for, the best first.
std::vector<BlockResult> finalists(const History& history, std::int64_t top) {
  std::vector<BlockResult> found = rank_blocks(history).blocks;
  std::erase_if(found, [](const BlockResult& block) { return !block.searched(); });
  const std::int64_t count = std::ssize(found);
  if (count == 0) throw Error(Exit::NoUsableTrial, "no search trial of the study has a loss");
  if (top < 1 || top > count)
    bad_input("--top", fmt::format("only {} blocks have a loss", count),
              fmt::format("1..{}", count), std::to_string(top));
  found.resize(static_cast<std::size_t>(top));
  return found;
}

Spec baseline_at(const Space& space, const std::string& name, const Scale& from, const Scale& to,
                 HeadRule rule, const LayerTypes& types) {
  if (is_file_name(name)) {
    const Json document = load_json(name);
    if (document.value("format", "") == "moebius.baseline/1")
      return read_block(document, name, to, types);
    return scale_block(space_baseline(space, name, types), from, to, types, rule);
  }
  const auto parts = split_baseline(name);
  return baseline(parts ? parts->block : name, to, types);
}

// Active FLOPs per token at the sequence length of the row.
double flops_at(const Spec& spec, const Scale& row, const LayerTypes& types) {
  return active_flops(spec, types, {.batch = 1, .seq = row.seq});
}

// Of the space's first baseline; NaN without one.
struct FlopsToMatch {
  double here = std::nan(""), there = std::nan("");
};

FlopsToMatch flops_to_match(const Space& space, const Scale& from, const Scale& to, HeadRule rule,
                            const LayerTypes& types) {
  if (space.baselines().empty()) return {};
  const std::string& name = space.baselines().front();
  return {flops_at(space_baseline(space, name, types), from, types),
          flops_at(baseline_at(space, name, from, to, rule, types), to, types)};
}

std::string baseline_name(const std::string& name, const Scale& to) {
  const auto parts = split_baseline(name);
  const std::string block = parts ? parts->block : std::filesystem::path(name).stem().string();
  return block + "-" + to.name;
}

}  // namespace

std::vector<ScaledBlock> scaled_blocks(const History& history, const Space& space,
                                       const Catalog& catalog, const ScaleRequest& request) {
  const LayerTypes& types = catalog.types;
  const Scale from = scale(space.scale()), to = scale(request.to);
  const FlopsToMatch first = flops_to_match(space, from, to, request.rule, types);
  if (request.match_flops && std::isnan(first.here))
    bad_input("--match", "the space has no baseline whose active FLOPs could be matched");
  std::vector<ScaledBlock> result;
  for (const BlockResult& block : finalists(history, request.top)) {
    ScaledBlock& scaled = result.emplace_back();
    scaled.trial = block.number;
    scaled.name = fmt::format("t{}-{}", block.number, to.name);
    scaled.proxy_loss = block.loss.mean;
    scaled.seeds = block.loss.n;
    const Spec& proxy = history.find(block.number)->spec;
    scaled.spec = scale_block(proxy, from, to, types, request.rule);
    scaled.proxy_flops_ratio = flops_at(proxy, from, types) / first.here;
    if (request.match_flops)
      scaled.spec = iso_flops(scaled.spec, scaled.proxy_flops_ratio * first.there, types,
                              {.batch = 1, .seq = to.seq});
  }
  for (const std::string& name :
       request.baselines ? space.baselines() : std::vector<std::string>()) {
    ScaledBlock& scaled = result.emplace_back();
    scaled.name = baseline_name(name, to);
    scaled.proxy_loss = std::nan("");
    scaled.spec = baseline_at(space, name, from, to, request.rule, types);
    const Spec proxy = space_baseline(space, name, types);
    scaled.proxy_flops_ratio = flops_at(proxy, from, types) / first.here;
    const Summary loss = block_result(history.of_block(spec_hash(proxy))).loss;
    scaled.proxy_loss = loss.mean;
    scaled.seeds = loss.n;
  }
  const std::int64_t vocab = request.vocab > 0 ? request.vocab : to.vocab;
  const Recipe recipe = common_recipe(result, request.recipe, to, types);
  for (ScaledBlock& scaled : result) {
    scaled.recipe = recipe;
    scaled.cost = cost(scaled.spec, types, scaled.recipe, vocab);
    scaled.flops_ratio = flops_at(scaled.spec, to, types) / first.there;
    const MemoryPlan plan =
        Learner::plan(scaled.spec, scaled.recipe, vocab, {request.backend, {}, 0}, catalog);
    scaled.peak_bytes = plan.total();
    scaled.optimizer_bytes = plan.optimizer;
  }
  return result;
}

}  // namespace moebius
