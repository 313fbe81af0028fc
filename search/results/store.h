#pragma once
#include <cstdint>
#include <filesystem>
#include <string>

#include "search/results/results_db.h"

namespace moebius {

// What stands behind --db; parse_db_url is the one place that reads it.
struct DbUrl {
  std::string plugin;  // of dbs.def
  std::string place;   // what the plug-in opens: for sqlite a path
  bool is_file = false;
};
// "sqlite:///rel.db", "sqlite:////abs.db", "memory:", or a path. Error(BadInput) for a database
// that there is not, and for a path that can be no file.
DbUrl parse_db_url(const std::string& url);
// Whether there is anything to read. A database that is no file is always there; an empty file, as
// a full disk leaves one behind, is not.
bool db_exists(const std::string& url);

// The folder of a study's files: checkpoints of trials that were stopped, weights of the best, and
// what an evaluator leaves.
//
// It is DATABASE.files/ID beside the database, links resolved; ID is the random id that the
// database keeps for the study. The database keeps paths relative to it, so both can be moved
// together. A copy of the database has another name and thereby no files; it may read those of the
// original. Where the database was renamed, the folder under the old name goes on to be used: the
// database knows its own inode, which a copy does not have.
//
// A study made under schema 1 keeps its folder, DATABASE without its extension + .files/NAME, and
// paths that the database has in full.
class StudyFiles {
 public:
  StudyFiles() = default;  // of a database without a place on a disk: there are no files
  struct Origin {
    bool schema_1 = false;   // the study was made under schema 1
    std::int64_t inode = 0;  // of the database file when the study was made; 0 = not known
  };
  StudyFiles(const std::string& database, const StudyRow& study, const Origin& origin);

  bool none() const { return folder_.empty(); }
  std::string folder() const { return folder_.string(); }  // absolute; need not exist
  void create() const;                                     // Error(Storage)
  std::string checkpoint(std::int64_t trial) const;        // folder/t00012.resume
  std::string weights(std::int64_t trial) const;           // folder/t00012.safetensors

  // As the database keeps the path of a file in the folder.
  std::string stored(const std::string& path) const;
  // Where an artifact is; "" when it is nowhere.
  std::string find(const Artifact& artifact) const;

 private:
  std::filesystem::path database_, folder_;
  std::string id_;
  bool schema_1_ = false;
};
// The note of a study under which its database keeps the inode that its file had.
inline constexpr char kInodeNote[] = "inode";
std::int64_t file_inode(const std::string& path);  // 0 when it cannot be had
// The files of a study in the database that `url` names.
StudyFiles study_files(const std::string& url, ResultsDb& db, const StudyRow& study);

// XXH3-128 of a file's bytes, as `artifact.hash` has it. Error(Storage).
std::string file_hash(const std::string& path);

}  // namespace moebius
