#pragma once
#include <sys/types.h>

#include <map>
#include <string>

namespace moebius {

// A shell command in a process group of its own, its standard output read line by line, its
// standard error in a file. When this process dies, the command meets a closed pipe.
class Subprocess {
 public:
  // `environment` is added to ours. Error(Storage) when the system refuses a process.
  Subprocess(const std::string& command, const std::map<std::string, std::string>& environment,
             const std::string& stderr_path);
  ~Subprocess();  // kills what still runs
  Subprocess(const Subprocess&) = delete;
  Subprocess& operator=(const Subprocess&) = delete;

  enum class Read { Line, Nothing, End, TooLong };  // TooLong: a line of more than 1 MiB
  // The next line; Nothing after `milliseconds`; End when the output is closed or the command gone.
  Read read_line(std::string& line, int milliseconds);

  // SIGTERM to the whole group, SIGKILL after `grace_seconds`.
  void terminate(double grace_seconds);

  struct Status {
    bool signalled = false;
    int code = 0;  // exit status or signal
    double cpu_seconds = 0;
    std::string text() const;  // "exit status 3", "killed by SIGKILL"
  };
  // Waits for its end; whatever is left of its group is killed.
  Status wait();

 private:
  bool ended() const;  // without reaping

  pid_t pid_ = -1;
  int output_ = -1;
  std::string pending_;
  bool closed_ = false;
};

}  // namespace moebius
