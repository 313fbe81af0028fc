#pragma once
#include <string>
#include <vector>

#include "search/results/results_db.h"
#include "search/study/config.h"

namespace moebius {

// The only code that knows how a database keeps a StudyConfig.

// Fields that a resume compares are `options`, but for seed and lag, which have columns; the others
// join `provenance`.
StudySettings settings_of(const StudyConfig& config, const Json& provenance);
// The study as it was made, by this release or an older one. Baselines of studies that did not
// store them are those that were trained. Error(BadInput) when a newer release made the study, with
// fields that this one does not know.
StudyConfig stored_config(ResultsDb& db, const StudyRow& row, const LayerTypes& types);
// The rules that a study was made under.
std::int64_t rules_of(const StudySettings& settings);
// "" or the line that marks a study of other rules.
std::string rules_note(const StudySettings& settings);
// Error(BadInput) for a study of other rules: what is trained now does not belong in it.
void check_rules(const StudyConfig& stored);
// Of a field of the recipe: "micro_batch" -> "--micro-batch".
std::string recipe_option(std::string key);
// Where `given` is not what was `stored`: one line each in the house form, by the option that says
// so.
std::vector<std::string> differences(const StudyConfig& stored, const StudyConfig& given);

}  // namespace moebius
