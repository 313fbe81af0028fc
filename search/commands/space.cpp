#include "space/space.h"

#include <filesystem>

#include "search/commands/listing.h"
#include "search/commands/options.h"
#include "search/report/draw.h"
#include "search/study/factory.h"
#include "search/study/proposal.h"
#include "space/base/units.h"
#include "space/resources.h"

namespace moebius {
namespace {

using Run = std::function<int()>;

Run describe_list(Args& args) {
  auto list = std::make_shared<ListOptions>();
  describe_format(args, *list);
  return [list] {
    Table table;
    table.columns = {{"name"},
                     {"scale"},
                     {"sublayers"},
                     {"stacks"},
                     {"points", Style::Count},
                     {"distinct", Style::Count},
                     {"baselines"}};
    for (const std::string& name : space_presets()) {
      const Space space = load_space(name, layer_types());
      const SpaceSize size = space.size();
      table.rows.push_back({name, space.scale(), space.sublayers(), space.stacks(), size.points,
                            size.distinct, join(space.baselines(), ", ")});
    }
    print_table(std::move(table), *list);
    return 0;
  };
}

Run describe_show(Args& args) {
  auto name = std::make_shared<std::string>();
  args.positional("SPACE", *name, true, "a preset or a file");
  return [name] {
    print_out(load_space(*name, layer_types()).document().dump(2) + "\n");
    return 0;
  };
}

struct CheckOptions {
  std::string space;
  std::int64_t vocab = 0;
};

// The same judgement as a search that is started with the space; and of each choice alone.
int run_check(const CheckOptions& options) {
  constexpr int kDraws = 2000;  // for a choice
  StudyConfig config;
  config.space = load_space(options.space, layer_types());
  config.recipe = config.space.recipe();
  check_recipe(config.recipe, builtin_catalog());
  config.vocab = options.vocab > 0 ? options.vocab : default_vocab(config.space);
  config.baselines = space_baselines(config.space, layer_types());
  check_study(config, layer_types());
  check_drawable(config, layer_types());
  const SpaceSize size = config.space.size();
  print_out(fmt::format("{}: sound; {} points, {} blocks; baselines {}\n", config.space.name(),
                        exact_text(size.points), exact_text(size.distinct),
                        join(config.space.baselines(), ", ")));
  for (const Judge::Never& never : judge_of(config, layer_types()).never_occurring(kDraws))
    print_out(fmt::format("{} ({}) never occurs in {} draws: {}\n", never.pointer,
                          printable(never.value), kDraws, never.why));
  return 0;
}

Run describe_check(Args& args) {
  auto options = std::make_shared<CheckOptions>();
  args.positional("SPACE", options->space, true, "a preset or a file");
  args.option("--vocab N", options->vocab, 1, 1 << 24,
              "vocabulary; of the scale row when left out");
  return [options] { return run_check(*options); };
}

Run describe_size(Args& args) {
  auto name = std::make_shared<std::string>();
  auto list = std::make_shared<ListOptions>();
  args.positional("SPACE", *name, true, "a preset or a file");
  describe_format(args, *list);
  return [name, list] {
    const Space space = load_space(*name, layer_types());
    const SpaceSize size = space.size();
    if (list->format == "table") {
      print_out(fmt::format("points {}\nblocks {}\n", exact_text(size.points),
                            exact_text(size.distinct)));
      return 0;
    }
    Table table{{{"space"}, {"points"}, {"distinct"}}, {}};
    table.rows.push_back({space.name(), size.points, size.distinct});
    print_table(std::move(table), *list);
    return 0;
  };
}

struct SampleOptions {
  std::string space;
  std::int64_t count = 1, seed = 1, vocab = 0;
  bool json = false;
};

// Draws until `count` blocks are feasible; how many draws that took says how tight the space is.
int run_sample(const SampleOptions& options) {
  const Space space = load_space(options.space, layer_types());
  const LayerTypes& types = layer_types();
  const std::int64_t vocab = options.vocab > 0 ? options.vocab : default_vocab(space);
  std::optional<Cost> baseline;
  if (!space.baselines().empty())
    baseline =
        cost(space_baseline(space, space.baselines()[0], types), types, space.recipe(), vocab);
  const Judge judge(space, types, space.recipe(), vocab, baseline);
  Rng rng(static_cast<std::uint64_t>(options.seed));
  constexpr std::int64_t kDraws = 100'000;
  std::int64_t draws = 0, found = 0;
  std::string last;
  while (found < options.count && draws < kDraws) {
    ++draws;
    const Spec spec = space.resolve(space.sample(rng));
    last = judge.why_refused(spec);
    if (!last.empty()) continue;
    ++found;
    if (options.json) {
      print_out(to_json(spec).dump() + "\n");
      continue;
    }
    const Cost each = cost(spec, types, space.recipe(), vocab);
    print_out(fmt::format("{}\n{}parameters {}, active {}\n\n", notation(spec, types),
                          draw_block(spec, types, terminal_charset()),
                          count_text(static_cast<double>(each.parameters)),
                          count_text(static_cast<double>(each.active_parameters))));
  }
  if (found == 0)
    bad_input(options.space, fmt::format("0 of {} samples satisfy the constraints", draws), "",
              last);
  if (!options.json)
    print_out(fmt::format("{} of {} draws satisfy the constraints\n", found, draws));
  return 0;
}

Run describe_sample(Args& args) {
  auto options = std::make_shared<SampleOptions>();
  args.example("moebius space sample brainformer-nano --count 3 --seed 7");
  args.positional("SPACE", options->space, true, "a preset or a file");
  args.option("--count N", options->count, 1, 10'000, "feasible blocks to draw");
  args.option("--seed N", options->seed, 0, std::int64_t{1} << 62, "of the draws");
  args.option("--vocab N", options->vocab, 1, 1 << 24,
              "vocabulary; of the scale row when left out");
  args.flag("--json", options->json, "one moebius.block/1 a line");
  return [options] { return run_sample(*options); };
}

Json document_of(const std::string& name) {
  const std::vector<std::string> presets = space_presets();
  if (std::find(presets.begin(), presets.end(), name) != presets.end())
    return load_space(name, layer_types()).document();
  return load_json(name);
}

Run describe_diff(Args& args) {
  auto files = std::make_shared<std::pair<std::string, std::string>>();
  args.example("moebius space diff brainformer-nano my-space.json");
  args.positional("LEFT", files->first, true, "a preset or a file");
  args.positional("RIGHT", files->second, true, "a preset or a file");
  return [files] {
    for (const std::string& line : diff(document_of(files->first), document_of(files->second)))
      print_out(printable(line) + "\n");
    return 0;
  };
}

}  // namespace

Command commands_space() {
  return {
      "what may be built: presets, checks, sizes, draws", [](Args& args) -> Run {
        args.example("moebius space list");
        args.example("moebius space check my-space.json");
        args.subcommand("list", "lists the presets", describe_list);
        args.subcommand("show", "prints a space as JSON, to start your own from", describe_show);
        args.subcommand("check", "checks a space file", describe_check);
        args.subcommand("size", "counts points and distinct blocks", describe_size);
        args.subcommand("sample", "draws feasible blocks", describe_sample);
        args.subcommand("diff", "differences of two spaces, a JSON pointer a line", describe_diff);
        return nullptr;
      }};
}

}  // namespace moebius
