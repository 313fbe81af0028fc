#pragma once
#include <gtest/gtest.h>

#include <fstream>
#include <functional>
#include <iterator>
#include <string>
#include <utility>

#include "evaluator/evaluator.h"
#include "space/base/json.h"
#include "tests/support/catalog.h"
#include "tests/support/folder.h"
#include "tests/support/places.h"

namespace moebius::testing_support {

inline std::string read_text(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(file), {}};
}

// The line of the Error(BadInput) that `action` must throw.
inline std::string bad_input_of(const std::function<void()>& action) {
  try {
    action();
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), Exit::BadInput) << error.what();
    return error.what();
  }
  ADD_FAILURE() << "no error";
  return "";
}

// Two sub-layers, [attention, last], of width 16.
inline Spec tiny_spec(const std::string& last = R"({"type":"ffn","d_ffn":32,"activation":"gelu"})",
                      const Catalog& catalog = builtin_catalog()) {
  return read_spec(Json::parse(R"({"format":"moebius.block/1","d_model":16,"stacks":1,"sublayers":[
      {"type":"attn","heads":2,"head_dim":8},)" +
                               last + "]}"),
                   "tiny.json", catalog.types);
}
inline const std::string kTop2 =
    R"({"type":"moe","d_moe":16,"experts":4,"gating":"top2","capacity":1,"activation":"relu"})";
inline const std::string kExpertChoice =
    R"({"type":"moe","d_moe":16,"experts":4,"gating":"expert_choice","capacity":2,"activation":"relu"})";

inline Recipe tiny_recipe() {
  Recipe recipe;
  recipe.batch = recipe.micro_batch = 4;
  recipe.seq = 16;
  recipe.eval_tokens = 1024;
  recipe.lr = {{"dense", 1e-2}, {"token_choice", 1e-2}, {"expert_choice", 1e-2}};
  recipe.lr_width = 16;
  return recipe;
}

inline Candidate tiny_candidate(std::int64_t steps) {
  Candidate candidate;
  candidate.spec = tiny_spec();
  candidate.recipe = tiny_recipe();
  candidate.budget = {Budget::Unit::Steps, static_cast<double>(steps), ""};
  candidate.seed = 1;
  return candidate;
}

inline EvaluatorOptions options_for(const std::string& data) {
  EvaluatorOptions options;
  options.data = data;
  options.catalog = &builtin_catalog();
  return options;
}

// Asks for a stop after so many calls of stop().
class StopAfter : public Observer {
 public:
  explicit StopAfter(int calls) : left_(calls) {}
  bool stop() override { return left_-- <= 0; }

 private:
  int left_;
};

// A directory with the shared corpora, or "": tests that need it say that they skip.
inline std::string shared_corpora() {
  const std::filesystem::path path = shared_file("data/corpora");
  return std::filesystem::exists(path) ? path.string() : "";
}

}  // namespace moebius::testing_support
