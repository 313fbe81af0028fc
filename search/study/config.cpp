#include "search/study/config.h"

#include "evaluator/evaluator.h"
#include "search/results/builtin_catalog.h"
#include "search/samplers/sampler.h"
#include "search/stoppers/stopper.h"

namespace moebius {

std::vector<std::string> stopper_names() { return stoppers().names(); }
std::vector<std::string> evaluator_names() { return evaluators().names(); }
std::vector<std::string> backend_names() { return builtin_catalog().backends.names(); }
std::vector<std::string> sampler_names() { return samplers().names(); }

}  // namespace moebius
