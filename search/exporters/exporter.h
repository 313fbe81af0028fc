#pragma once
#include <functional>
#include <string>

#include "search/results/results_db.h"

namespace moebius {

// What is exported: a block with where it came from.
struct ExportSubject {
  Spec spec;
  Recipe recipe;
  Json provenance;   // study, trial, seed, data hash, loss and noise, step time, parameters; may be
                     // an empty object
  std::string name;  // file stem
};

// What a study knows of a trial. Error(BadInput) unless it is done.
ExportSubject export_subject(const StudyRow& study, const History& history, const Trial& trial);

struct ExporterPlugin {
  std::string help;
  // Writes into `directory` (created; existing files are never overwritten without `force`);
  // returns the path to name to the user.
  std::function<std::string(const ExportSubject&, const std::string& directory, bool force)> write;
};
const Registry<ExporterPlugin>& exporters();  // of exporters.def: json

}  // namespace moebius
