#pragma once
#include <cstdint>
#include <string>

#include "search/study/stored.h"
#include "search_support.h"

namespace moebius::testing_support {

// What a database is told of a study.
inline StudySettings study_settings(const Space& space, std::int64_t trials,
                                    const std::string& name = "first") {
  return settings_of(study_config(space, trials, name), {{"version", "1"}});
}

}  // namespace moebius::testing_support
