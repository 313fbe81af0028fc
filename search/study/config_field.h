#pragma once
#include <string>
#include <vector>

#include "space/base/json.h"

namespace moebius {

// What is said of a field beside its value.
struct ConfigField {
  std::string key;           // in the study's JSON
  std::string option;        // as it is declared: "--budget BUDGET"
  std::string help = {};     // "" = described elsewhere, or not to be set by itself
  double low = 0, high = 0;  // inclusive; of numbers
  bool compared = true;      // whether a resume refuses another value
  Json absent = nullptr;     // what files mean that lack the key; null = the initial value
  std::vector<std::string> (*words)() = nullptr;  // of a text: all that are allowed
};
std::vector<std::string> evaluator_names();
std::vector<std::string> backend_names();
std::vector<std::string> sampler_names();
std::vector<std::string> stopper_names();

}  // namespace moebius
