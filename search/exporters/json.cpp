#include <filesystem>

#include "search/exporters/exporter.h"
#include "search/results/version.h"
#include "space/base/atomic_file.h"

namespace moebius {
namespace {

std::string write(const ExportSubject& subject, const std::string& directory, bool force) {
  namespace fs = std::filesystem;
  const fs::path path = fs::path(directory) / (subject.name + ".json");
  std::error_code ignored;
  if (fs::exists(directory, ignored) && !fs::is_directory(directory, ignored))
    bad_input("--out", "is not a directory", "", directory);
  if (fs::symlink_status(path, ignored).type() != fs::file_type::not_found && !force)
    bad_input(path.string(), "exists already; --force replaces it");
  Json document = to_json(subject.spec);
  document["name"] = subject.name;
  document["provenance"] = subject.provenance;
  document["provenance"]["recipe"] = to_json(subject.recipe);
  document["provenance"]["version"] = version();
  document["provenance"]["revision"] = git_revision();
  std::error_code error;
  fs::create_directories(directory, error);
  if (error) throw Error(Exit::Storage, directory + ": cannot create: " + error.message());
  write_file(path, document.dump(2) + "\n");
  return path;
}

}  // namespace

ExporterPlugin exporters_json() {
  return {"moebius.block/1 with provenance; read back by search --seed-from, train and enqueue",
          write};
}

}  // namespace moebius
