#pragma once
#include <fmt/format.h>

#include <string>
#include <utility>

namespace moebius {

// Talk goes to stderr, one line per event; results go to stdout and never through here.
enum class LogLevel { Quiet, Warning, Info, Debug };

void set_log_level(LogLevel level);
LogLevel log_level();

// Prints a line. The live progress display sets a sink of its own, so that lines do not break into
// the block that it redraws.
using LogSink = void (*)(const std::string& line);
void set_log_sink(LogSink sink);  // nullptr = stderr

void log_line(LogLevel level, const std::string& line);

template <class... Args>
void info(fmt::format_string<Args...> text, Args&&... args) {
  if (log_level() >= LogLevel::Info)
    log_line(LogLevel::Info, fmt::format(text, std::forward<Args>(args)...));
}
template <class... Args>
void warn(fmt::format_string<Args...> text, Args&&... args) {
  if (log_level() >= LogLevel::Warning)
    log_line(LogLevel::Warning, "warning: " + fmt::format(text, std::forward<Args>(args)...));
}

}  // namespace moebius
