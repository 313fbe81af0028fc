#include "search/study/factory.h"

#include <utility>

#include "model/catalog.h"
#include "model/schedule.h"
#include "search/samplers/sampler.h"
#include "search/stoppers/stopper.h"
#include "search/study/plugin_options.h"
#include "search/study/stored.h"
#include "space/base/text.h"

namespace moebius {
namespace {

struct Overlay {
  const Value& given;

  void operator()(Budget& value) const { value = parse_budget(std::get<std::string>(given)); }
  template <class T>
  void operator()(T& value) const {
    if constexpr (std::same_as<T, std::int64_t> || std::same_as<T, double> ||
                  std::same_as<T, std::string>)
      value = std::get<T>(given);
    else
      MOEBIUS_CHECK(false, "[factory] a list is no value of an option");
  }
};

Space with_baselines(const Space& space, const Json& names, const LayerTypes& types) {
  Json document = space.document();
  document["baseline"] = names;
  return Space::read(document, space.name(), types);
}

// `config` with what was said, as it was said; what follows from that is not settled yet.
void overlay(StudyConfig& config, const StudyRequest& request, const LayerTypes& types) {
  if (request.space) config.space = *request.space;
  if (!request.baselines.empty()) {
    config.space = with_baselines(config.space, request.baselines, types);
    config.baselines = space_baselines(config.space, types);
  }
  if (!request.seeds.empty()) config.seeds = request.seeds;
  for_each_field(config, [&](const ConfigField& field, auto& value) {
    if (const auto found = request.given.find(field.key); found != request.given.end())
      Overlay{found->second}(value);
  });
  for (auto& [name, value] : read_words("--sampler-option", request.sampler_options,
                                        samplers().get(config.sampler).options))
    config.sampler_options[name] = std::move(value);
  for (auto& [name, value] : read_words("--stopper-option", request.stopper_options,
                                        stoppers().get(config.stopper).options))
    config.stopper_options[name] = std::move(value);
}

// Data are told apart by their contents, which the evaluator reads. -> differences from how the
// study was made.
std::vector<std::string> judged(const StudyConfig& stored, StudyConfig& config,
                                const EvaluatorOptions& resources, MadeStudy& made) {
  StudyConfig own = config;
  own.recipe = stored.recipe;
  own.vocab = stored.vocab;
  std::vector<std::string> lines;
  try {
    if (config.data != stored.data || config.tokenizer != stored.tokenizer) {
      StudyConfig other = own;
      other.vocab = 0;  // that of other data may not fit the study's
      make_evaluator(other, resources);
      config.data_hash = other.data_hash;
    }
    if (config.data_hash == stored.data_hash) made.evaluator = make_evaluator(own, resources);
    if (made.evaluator) config.data_hash = own.data_hash;
  } catch (const Error& trouble) {
    lines = differences(stored, config);
    if (lines.empty() || trouble.code() != Exit::BadInput) throw;
    lines.push_back(trouble.what());
    return lines;
  }
  return differences(stored, config);
}

}  // namespace

void check_recipe(const Recipe& recipe, const Catalog& catalog) {
  make_optimizer(recipe, catalog.optimizers);
  schedule(recipe, 0, 1);
}

std::unique_ptr<Evaluator> make_evaluator(StudyConfig& config, EvaluatorOptions resources) {
  if (config.evaluator == kElsewhere) {
    if (config.vocab == 0) config.vocab = default_vocab(config.space);
    return nullptr;
  }
  resources.data = config.data;
  resources.tokenizer = config.tokenizer;
  resources.vocab = config.vocab;
  resources.backend = config.backend;
  resources.precision = config.precision.empty() ? config.recipe.precision : config.precision;
  resources.command = config.command;
  resources.timeout_seconds = config.timeout;
  std::unique_ptr<Evaluator> evaluator = evaluators().get(config.evaluator).make(resources);
  evaluator->check(config.recipe);
  if (config.vocab > 0 && config.vocab != evaluator->vocab())
    bad_input("--vocab", "--evaluator " + config.evaluator + " has its own",
              std::to_string(evaluator->vocab()), std::to_string(config.vocab));
  config.vocab = evaluator->vocab();
  config.data_hash = evaluator->data_hash();
  return evaluator;
}

MadeStudy new_study(const std::string& name, const StudyRequest& request,
                    const EvaluatorOptions& resources) {
  MOEBIUS_CHECK(request.space && resources.catalog, "[factory] a study needs space and catalog");
  MadeStudy made;
  StudyConfig& config = made.config;
  config.name = name;
  overlay(config, request, resources.catalog->types);
  config.recipe = changed(config.space.recipe(), request.recipe);
  check_recipe(config.recipe, *resources.catalog);
  config.sampler_options = settled_sampler_options(config, samplers());
  config.stopper_options = settled_stopper_options(config, stoppers());
  if (request.elsewhere) config.evaluator = kElsewhere;
  made.evaluator = make_evaluator(config, resources);
  if (made.evaluator) config.precision = made.evaluator->precision();
  if (request.baselines.empty())
    config.baselines = space_baselines(config.space, resources.catalog->types);
  return made;
}

MadeStudy resumed_study(const StudyConfig& stored, const StudyRequest& request,
                        const EvaluatorOptions& resources) {
  check_rules(stored);
  MadeStudy made;
  made.config = stored;
  StudyConfig& config = made.config;
  overlay(config, request, resources.catalog->types);
  // Baselines that are not said are the study's, whatever the space's file names by now.
  if (request.space && request.baselines.empty() && stored.space.document().contains("baseline"))
    config.space =
        with_baselines(config.space, stored.space.document()["baseline"], resources.catalog->types);
  config.recipe = overlaid(stored.recipe, request.recipe);
  std::vector<std::string> lines = differences(stored, config);
  if (!request.elsewhere && config.evaluator == stored.evaluator)
    lines = judged(stored, config, resources, made);
  if (!lines.empty()) throw Error(Exit::BadInput, join(lines, "\n"));
  return made;
}

}  // namespace moebius
