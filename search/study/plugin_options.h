#pragma once
#include <string>
#include <vector>

#include "space/layer_type.h"

namespace moebius {

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
