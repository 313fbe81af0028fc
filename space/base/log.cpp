#include "space/base/log.h"

#include <atomic>
#include <cstdio>
#include <mutex>

namespace moebius {
namespace {

std::atomic<LogLevel> current_level{LogLevel::Info};
std::mutex sink_mutex;  // one line at a time, whoever prints it
LogSink current_sink = nullptr;

}  // namespace

void set_log_level(LogLevel level) { current_level = level; }
LogLevel log_level() { return current_level; }

void set_log_sink(LogSink sink) {
  const std::lock_guard lock(sink_mutex);
  current_sink = sink;
}

void log_line(LogLevel level, const std::string& line) {
  if (level > current_level) return;
  const std::lock_guard lock(sink_mutex);
  if (current_sink != nullptr) {
    current_sink(line);
  } else {
    const std::string text = line + "\n";
    std::fwrite(text.data(), 1, text.size(), stderr);
  }
}

}  // namespace moebius
