#pragma once
#include <unistd.h>

#include <algorithm>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <stdexcept>
#include <string>
#include <vector>

namespace moebius::testing_support {

// A directory of one test in one process, removed at its end. Tests of one name may run at the same
// time (as different processors, as different users), so no test writes to a name of its own
// choice. In memory where there is such a place: fsync on a busy disk takes most of a test's time.
class Folder {
 public:
  Folder() {
    const bool memory = access("/dev/shm", W_OK) == 0;
    const std::filesystem::path place =
        memory ? "/dev/shm" : std::filesystem::temp_directory_path();
    path_ = (place / "moebius-XXXXXX").string();
    if (mkdtemp(path_.data()) == nullptr) throw std::runtime_error("no directory " + path_);
  }
  ~Folder() {
    std::error_code ignored;
    std::filesystem::remove_all(path_, ignored);
  }
  Folder(const Folder&) = delete;
  Folder& operator=(const Folder&) = delete;

  const std::string& path() const { return path_; }
  std::string file(const std::string& name) const { return path_ + "/" + name; }
  // Writes a file and the directories above it; returns its path.
  std::string write(const std::string& name, const std::string& text) const {
    std::filesystem::create_directories(std::filesystem::path(file(name)).parent_path());
    std::ofstream(file(name), std::ios::binary) << text;
    return file(name);
  }
  std::vector<std::string> list() const {
    std::vector<std::string> names;
    for (const auto& entry : std::filesystem::directory_iterator(path_))
      names.push_back(entry.path().filename().string());
    std::sort(names.begin(), names.end());
    return names;
  }

 private:
  std::string path_;
};

}  // namespace moebius::testing_support
