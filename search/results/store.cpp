#include "search/results/store.h"

#include <sys/stat.h>

#include <array>
#include <cerrno>
#include <fstream>
#include <system_error>

#include "space/base/hash.h"

namespace moebius {
namespace {

namespace fs = std::filesystem;

constexpr char kAllowed[] = "a path, sqlite:///relative.db, sqlite:////absolute.db or memory:";
constexpr char kFolders[] = ".files";

DbUrl of_plugin(const std::string& name, const std::string& place) {
  const bool is_file = dbs().get(name).is_file;
  if (is_file && place.ends_with('/'))
    bad_input("--db", "names a folder", kAllowed, printable(place));
  if (is_file && place == ":memory:") bad_input("--db", "names no file", kAllowed, place);
  return {name, place, is_file};
}

// Folders of the study `id` beside a database that was copied or renamed: X.files/ID.
template <class Take>
void for_each_sibling(const fs::path& database, const std::string& id, Take&& take) {
  std::error_code ignored;
  for (const auto& entry : fs::directory_iterator(database.parent_path(), ignored)) {
    if (entry.path().extension() != kFolders) continue;
    const fs::path folder = entry.path() / id;
    if (fs::is_directory(folder, ignored)) take(folder);
  }
}

fs::path folder_of(const fs::path& database, const std::string& id, bool original) {
  fs::path folder = fs::path(database.string() + kFolders) / id;
  std::error_code ignored;
  if (!original || fs::exists(folder, ignored)) return folder;
  for_each_sibling(database, id, [&](const fs::path& other) {
    const fs::path its_database = other.parent_path().replace_extension();
    if (!fs::exists(its_database, ignored)) folder = other;
  });
  return folder;
}

bool is_there(const fs::path& path) {
  std::error_code ignored;
  return fs::exists(path, ignored);
}

std::string file_name(std::int64_t trial, const char* suffix) {
  return fmt::format("t{:05}{}", trial, suffix);
}

}  // namespace

DbUrl parse_db_url(const std::string& url) {
  if (url.empty()) bad_input("--db", "no database named", kAllowed);
  const std::size_t colon = url.find(':');
  if (colon != std::string::npos) {
    const std::string name = url.substr(0, colon), place = url.substr(colon + 1);
    const bool rooted = place.starts_with("///");
    if (dbs().find(name) && (rooted || !place.starts_with("//")))
      return of_plugin(name, rooted ? place.substr(3) : place);
    if (place.starts_with("//")) bad_input("--db", "no such database", kAllowed, printable(url));
  }
  return of_plugin("sqlite", url);
}

bool db_exists(const std::string& url) {
  const DbUrl parsed = parse_db_url(url);
  std::error_code none;
  return !parsed.is_file || (fs::file_size(parsed.place, none) > 0 && !none);
}

StudyFiles::StudyFiles(const std::string& database, const StudyRow& study, const Origin& origin)
    : id_(study.files), schema_1_(origin.schema_1) {
  const std::string& name = schema_1_ ? study.settings.name : study.files;
  if (const std::string why = why_bad_name(name); !why.empty())  // it names a folder
    throw Error(Exit::Storage, fmt::format("{}: study {}: '{}': {}", printable(database), study.id,
                                           printable(name), why));
  std::error_code error;
  database_ = fs::weakly_canonical(fs::absolute(database), error);
  if (error) throw Error(Exit::Storage, printable(database) + ": " + error.message());
  fs::path stem = database_;
  folder_ = schema_1_ ? stem.replace_extension(kFolders) / study.settings.name
                      : folder_of(database_, id_,
                                  origin.inode != 0 && origin.inode == file_inode(database_));
}

void StudyFiles::create() const {
  std::error_code error;
  fs::create_directories(folder_, error);
  if (error) throw Error(Exit::Storage, printable(folder()) + ": " + error.message());
}

std::string StudyFiles::checkpoint(std::int64_t trial) const {
  return folder_ / file_name(trial, ".resume");
}

std::string StudyFiles::weights(std::int64_t trial) const {
  return folder_ / file_name(trial, ".safetensors");
}

std::string StudyFiles::stored(const std::string& path) const {
  return fs::path(path).lexically_relative(folder_);
}

std::string StudyFiles::find(const Artifact& artifact) const {
  const fs::path stored = artifact.path;
  if (schema_1_ && is_there(folder_ / stored.filename())) return folder_ / stored.filename();
  if (schema_1_) return is_there(stored) ? artifact.path : "";
  std::string found = is_there(folder_ / stored) ? (folder_ / stored).string() : "";
  if (found.empty())
    for_each_sibling(database_, id_, [&](const fs::path& other) {
      if (is_there(other / stored)) found = other / stored;
    });
  return found;
}

StudyFiles study_files(const std::string& url, ResultsDb& db, const StudyRow& study) {
  const DbUrl parsed = parse_db_url(url);
  if (!parsed.is_file) return {};
  const Json inode = db.remember(study.id, kInodeNote, Json());
  return {parsed.place,
          study,
          {db.remember(study.id, "schema", Json()) == 1,
           inode.is_number_integer() ? inode.get<std::int64_t>() : 0}};
}

std::int64_t file_inode(const std::string& path) {
  struct stat info {};
  return stat(path.c_str(), &info) == 0 ? static_cast<std::int64_t>(info.st_ino) : 0;
}

std::string file_hash(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  Hasher hasher;
  std::array<char, 1 << 16> buffer;
  while (file.read(buffer.data(), buffer.size()) || file.gcount() > 0)
    hasher.add(buffer.data(), static_cast<std::size_t>(file.gcount()));
  if (!file.eof())
    throw Error(Exit::Storage,
                printable(path) + ": cannot be read: " + std::generic_category().message(errno));
  return hasher.hex();
}

}  // namespace moebius
