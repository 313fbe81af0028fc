#include "evaluator/evaluators/subprocess.h"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <chrono>
#include <cstring>
#include <thread>
#include <vector>

#include "space/base/check.h"

namespace moebius {
namespace {

constexpr std::size_t kLongestLine = 1 << 20;

[[noreturn]] void refuse(const std::string& what, int error) {
  throw Error(Exit::Storage, "command: " + what + ": " + std::strerror(error));
}

// Our environment and the additions, as execve wants it.
class Environment {
 public:
  explicit Environment(const std::map<std::string, std::string>& additions) {
    for (const auto& [name, value] : additions) strings_.push_back(name + "=" + value);
    for (char** entry = environ; *entry != nullptr; ++entry) {
      const std::string_view text = *entry;
      if (!additions.contains(std::string(text.substr(0, text.find('=')))))
        strings_.emplace_back(text);
    }
    for (std::string& text : strings_) pointers_.push_back(text.data());
    pointers_.push_back(nullptr);
  }
  char** data() { return pointers_.data(); }

 private:
  std::vector<std::string> strings_;
  std::vector<char*> pointers_;
};

}  // namespace

Subprocess::Subprocess(const std::string& command,
                       const std::map<std::string, std::string>& environment,
                       const std::string& stderr_path) {
  std::array<int, 2> pipe_ends{};
  if (pipe2(pipe_ends.data(), O_CLOEXEC) != 0) refuse("no pipe", errno);
  output_ = pipe_ends[0];
  posix_spawn_file_actions_t actions;
  posix_spawn_file_actions_init(&actions);
  posix_spawn_file_actions_addopen(&actions, STDIN_FILENO, "/dev/null", O_RDONLY, 0);
  posix_spawn_file_actions_adddup2(&actions, pipe_ends[1], STDOUT_FILENO);
  posix_spawn_file_actions_addopen(&actions, STDERR_FILENO, stderr_path.c_str(),
                                   O_WRONLY | O_CREAT | O_TRUNC, 0644);
  posix_spawnattr_t attributes;
  posix_spawnattr_init(&attributes);
  sigset_t none, all;
  sigemptyset(&none);
  sigfillset(&all);
  posix_spawnattr_setpgroup(&attributes, 0);
  posix_spawnattr_setsigmask(&attributes, &none);
  posix_spawnattr_setsigdefault(&attributes, &all);
  posix_spawnattr_setflags(&attributes,
                           POSIX_SPAWN_SETPGROUP | POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF);
  std::string shell = "sh", option = "-c", text = command;
  std::array<char*, 4> arguments = {shell.data(), option.data(), text.data(), nullptr};
  const int error = posix_spawn(&pid_, "/bin/sh", &actions, &attributes, arguments.data(),
                                Environment(environment).data());
  posix_spawnattr_destroy(&attributes);
  posix_spawn_file_actions_destroy(&actions);
  close(pipe_ends[1]);
  if (error == 0) return;
  pid_ = -1;
  close(output_);
  refuse("cannot be started", error);
}

Subprocess::~Subprocess() {
  if (pid_ > 0) {
    kill(-pid_, SIGKILL);
    wait();
  }
  close(output_);
}

bool Subprocess::ended() const {
  siginfo_t info{};
  return waitid(P_PID, static_cast<id_t>(pid_), &info, WEXITED | WNOHANG | WNOWAIT) == 0 &&
         info.si_pid == pid_;
}

Subprocess::Read Subprocess::read_line(std::string& line, int milliseconds) {
  while (true) {
    if (const auto end = pending_.find('\n'); end != std::string::npos) {
      line = pending_.substr(0, end);
      pending_.erase(0, end + 1);
      return Read::Line;
    }
    if (pending_.size() > kLongestLine) return Read::TooLong;
    if (closed_ && !pending_.empty()) {  // a last line without its end
      line = std::move(pending_);
      pending_.clear();
      return Read::Line;
    }
    if (closed_) return Read::End;
    const bool gone = ended();  // before the poll, so that nothing it wrote is missed
    pollfd wanted{output_, POLLIN, 0};
    const int ready = poll(&wanted, 1, gone ? 0 : milliseconds);
    if (ready <= 0) {
      if (!gone) return Read::Nothing;
      closed_ = true;
      continue;
    }
    std::array<char, 65536> block;
    const ssize_t count = read(output_, block.data(), block.size());
    if (count > 0)
      pending_.append(block.data(), static_cast<std::size_t>(count));
    else if (count == 0 || errno != EINTR)
      closed_ = true;
  }
}

void Subprocess::terminate(double grace_seconds) {
  using Clock = std::chrono::steady_clock;
  const auto end = Clock::now() + std::chrono::duration<double>(grace_seconds);
  kill(-pid_, SIGTERM);
  while (!ended() && Clock::now() < end) std::this_thread::sleep_for(std::chrono::milliseconds(5));
  kill(-pid_, SIGKILL);
}

Subprocess::Status Subprocess::wait() {
  siginfo_t info{};
  while (waitid(P_PID, static_cast<id_t>(pid_), &info, WEXITED | WNOWAIT) != 0 && errno == EINTR) {
  }
  // The children of the command. The group's number cannot have gone to other processes: the leader
  // has not been reaped.
  kill(-pid_, SIGKILL);
  int state = 0;
  rusage usage{};
  while (wait4(pid_, &state, 0, &usage) < 0 && errno == EINTR) {
  }
  pid_ = -1;
  const auto seconds = [](const timeval& time) {
    return static_cast<double>(time.tv_sec) + 1e-6 * static_cast<double>(time.tv_usec);
  };
  const bool signalled = WIFSIGNALED(state);
  return {signalled, signalled ? WTERMSIG(state) : WEXITSTATUS(state),
          seconds(usage.ru_utime) + seconds(usage.ru_stime)};
}

std::string Subprocess::Status::text() const {
  if (!signalled) return fmt::format("exit status {}", code);
  const char* name = sigabbrev_np(code);
  return name != nullptr ? fmt::format("killed by SIG{}", name)
                         : fmt::format("killed by signal {}", code);
}

}  // namespace moebius
