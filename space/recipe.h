#pragma once
#include <cstdint>
#include <map>
#include <string>

#include "space/base/json.h"

namespace moebius {

// How a candidate is trained. Part of a space file, stored and hashed with the study; the same for
// every candidate.
struct Recipe {
  std::int64_t batch = 8;        // B, sequences per optimizer step
  std::int64_t seq = 64;         // S
  std::int64_t micro_batch = 8;  // sequences per forward/backward; divides batch
  std::string optimizer = "adamw";
  // Learning rate by family of the block ("dense", "token_choice", "expert_choice"); JSON: one
  // number, or an object.
  std::map<std::string, double> lr = {
      {"dense", 1e-3}, {"token_choice", 1e-3}, {"expert_choice", 1e-3}};
  double lr_width = 128;              // hidden matrices train with lr * lr_width / D
  std::string schedule = "wsd";       // name of a schedule; see model/schedule.h
  double warmup = 0.05;               // fraction of the budget
  double decay = 0.2;                 // fraction of the budget
  double weight_decay = 0;            // decoupled, matrices only
  double clip = 1.0;                  // global gradient norm; 0 = off
  double aux = 0.01;                  // weight of the load-balance loss (token choice)
  double z = 0;                       // weight of the router z-loss
  std::int64_t eval_tokens = 131072;  // tokens of the final evaluation, at most the split
  std::string precision = "auto";     // of products: "fp32" | "bf16" | "auto", the faster
  bool operator==(const Recipe&) const = default;

  std::int64_t tokens() const { return batch * seq; }
};

Json to_json(const Recipe& recipe);
// Missing keys take the defaults above (micro_batch: batch). Cross-field rules (micro_batch |
// batch, warmup + decay <= 1) are checked too.
Recipe read_recipe(Reader reader);

}  // namespace moebius
