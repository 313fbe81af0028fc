#include <filesystem>

#include "search/exporters/exporter.h"
#include "space/base/atomic_file.h"

namespace moebius {
namespace {

std::string write(const ExportSubject& subject, const std::string& directory, bool) {
  std::filesystem::create_directories(directory);
  const std::string path = directory + "/" + subject.name + ".types";
  std::string text;
  for (const SubLayer& layer : subject.spec.sublayers) text += layer.type + "\n";
  write_file(path, text);
  return path;
}

}  // namespace

ExporterPlugin exporters_types() { return {"the types of the sub-layers, one a line", write}; }

}  // namespace moebius
