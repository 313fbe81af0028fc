#pragma once
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "evaluator/evaluator.h"
#include "search/study/config.h"

namespace moebius {

// What somebody asks of a study: only what was said.
struct StudyRequest {
  std::optional<Space> space;
  Fields given;                        // fields of StudyConfig, by key
  Fields recipe;                       // fields of its recipe, by key
  std::vector<std::string> baselines;  // blocks or files, instead of the space's
  std::vector<Spec> seeds;             // first search trials
  std::vector<std::string> sampler_options, stopper_options;  // NAME=VALUE
  bool elsewhere = false;  // ask, tell, enqueue: no evaluator is made
};

// A study and who judges its trials; null for a study that is judged elsewhere.
struct MadeStudy {
  StudyConfig config;
  std::unique_ptr<Evaluator> evaluator;
};

// A new study `name`: what was not said has the initial values of StudyConfig. `resources` are what
// this process lends an evaluator: threads, memory, a directory, the catalog.
MadeStudy new_study(const std::string& name, const StudyRequest& request,
                    const EvaluatorOptions& resources);
// A study as it was made. Error(BadInput) naming everything that was said and differs, and for a
// study of other rules.
MadeStudy resumed_study(const StudyConfig& stored, const StudyRequest& request,
                        const EvaluatorOptions& resources);
// Error(BadInput) when the optimizer or the schedule is unknown.
void check_recipe(const Recipe& recipe, const Catalog& catalog);
// The evaluator of a config, and into the config what only that knows: the vocabulary, the identity
// of the data, the precision of products.
std::unique_ptr<Evaluator> make_evaluator(StudyConfig& config, EvaluatorOptions resources);

}  // namespace moebius
