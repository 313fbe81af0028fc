#pragma once
#include <string>
#include <string_view>
#include <vector>

namespace moebius {

std::string join(const std::vector<std::string>& parts, std::string_view separator);

// The nearest candidate within edit distance 2 (and less than half the length), or "".
std::string nearest(std::string_view word, const std::vector<std::string>& candidates);

// "PREFIX; did you mean 'heads'?" or just "PREFIX" when nothing is near.
std::string unknown_name(std::string_view prefix, std::string_view word,
                         const std::vector<std::string>& candidates);

// A study, trial or run name: [A-Za-z0-9][A-Za-z0-9_.-]{0,63} without "..". Returns "" or what is
// wrong.
std::string why_bad_name(std::string_view name);

// Whether a word names a file rather than something built in: it has a '/' or ends in ".json".
bool is_file_name(std::string_view word);

// A word as a POSIX shell takes it: in single quotes where it holds more than plain characters.
std::string shell_quoted(std::string_view word);

// Control bytes, ESC and bidi marks as \xNN, so that hostile names cannot drive a terminal.
std::string printable(std::string_view text);

}  // namespace moebius
