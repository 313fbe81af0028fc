#pragma once
#include <string>
#include <vector>

#include "search/samplers/sampler.h"
#include "search/stoppers/stopper.h"
#include "search/study/config.h"
#include "space/layer_type.h"

namespace moebius {

// What a study is made with beside its config: the built-in plug-ins, unless a test adds to them.
struct StudyPlugins {
  StudyPlugins(const LayerTypes& layer_types);  // NOLINT(google-explicit-constructor)
  const LayerTypes& types;
  Registry<SamplerPlugin> samplers;
  Registry<StopperPlugin> stoppers;
};

// The options of sampler and stopper, with what `config` leaves out.
Fields settled_sampler_options(const StudyConfig& config, const Registry<SamplerPlugin>& plugins);
Fields settled_stopper_options(const StudyConfig& config, const Registry<StopperPlugin>& plugins);

// Options that a plug-in of a study declares as fields. `option` names those values where one is
// wrong: "--sampler-option".

// "population=16" as typed -> {"population": 16}. Error(BadInput).
Fields read_words(const std::string& option, const std::vector<std::string>& words,
                  const std::vector<Field>& fields);
// The values of all fields: those given, else the defaults, else the fields' own. Error(BadInput)
// when one is unknown, missing or out of range.
Fields settled(const std::string& option, const Fields& given, const Fields& defaults,
               const std::vector<Field>& fields);
// "population=N (youngest trials that breed)" for help.
std::string describe_fields(const std::vector<Field>& fields);

}  // namespace moebius
