#pragma once
#include <cstdint>
#include <string>
#include <string_view>

namespace moebius {

// Numbers as people write them. No locale, no exponent surprises: to_chars/from_chars only.

std::string count_text(double n);            // 29531842560 -> "29.5B"; 830000 -> "830k"
std::string bytes_text(std::int64_t bytes);  // 1536 -> "1.5 KiB"
std::string seconds_text(double seconds);    // 0.0123 -> "12.3 ms"; 75 -> "1m15s"
std::string exact_text(double n);            // 30233088 -> "30,233,088"; above 2^53 "~2^531"
std::string shortest(double value);          // shortest text that reads back to the same double

// "300k", "1.6M", "2e12" -> value; suffixes k M G/B T (powers of 1000). Returns false when it is
// not such a number.
bool parse_count(std::string_view text, double& value);
// "20GiB", "512MiB", "1000" -> bytes (powers of 1024). Returns false when it is not such a number.
bool parse_bytes(std::string_view text, std::int64_t& bytes);

}  // namespace moebius
