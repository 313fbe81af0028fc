#pragma once
#include <concepts>
#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "space/base/json.h"
#include "space/layer_type.h"

namespace moebius {

// How a candidate is trained. Part of a space file, stored and hashed with the study; the same for
// every candidate.
struct Recipe {
  std::int64_t batch = 8;        // B, sequences per optimizer step
  std::int64_t seq = 64;         // S
  std::int64_t micro_batch = 8;  // sequences per forward/backward; divides batch
  std::string optimizer = "adamw";
  // What multiplies the steps of an optimizer: "none" | "parameter", the root mean square of the
  // tensor (1804.04235, algorithm 4: Adafactor's relative step sizes).
  std::string update_scale = "none";
  // Learning rate by group of the block (RateGroup). JSON: one number for all groups, or an object;
  // a group that it leaves out has the default group's rate.
  std::map<std::string, double> lr = {{kDefaultRates, 1e-3}};
  double lr_width = 128;              // see hidden_rate
  std::string schedule = "wsd";       // name of a schedule; see model/schedule.h
  double warmup = 0.05;               // fraction of the budget
  double decay = 0.2;                 // fraction of the budget
  double weight_decay = 0;            // decoupled, matrices only
  double clip = 1.0;                  // global gradient norm; 0 = off
  double aux = 0.01;                  // weight of each router's load-balance loss (token choice)
  double z = 0;                       // weight of each router's z-loss
  std::int64_t eval_tokens = 131072;  // tokens of the final evaluation, at most the split
  std::string precision = "auto";     // of products: "fp32" | "bf16" | "auto", the faster
  bool operator==(const Recipe&) const = default;

  std::int64_t tokens() const { return batch * seq; }
  bool scales_updates() const { return update_scale == "parameter"; }
  // Of a block's group; Error(BadInput) when `lr` has neither it nor the default group.
  double rate(const std::string& group) const;
  // What a hidden matrix with `fan_in` rows trains with: rate * lr_width / fan_in, so that a step
  // moves its outputs alike whatever its size; where steps are relative to the parameter, whose RMS
  // falls as 1 / sqrt(fan_in) already, rate * sqrt(lr_width / fan_in) (bench/coordinate_check).
  double hidden_rate(double rate, std::int64_t fan_in) const;
};

// What is said of a field beside its value. Its key in JSON also names its option: micro_batch is
// set by --micro-batch.
struct RecipeField {
  std::string key;
  double low = 0, high = 0;  // inclusive; of a number, or of each rate
  std::string help;
  std::vector<std::string> words = {};  // of a text: all that are allowed; empty = any
};

// visit(field, value) for every field, in the order in which options are listed. JSON, options and
// differences between recipes are made from this list.
template <class R, class Visit>
requires std::same_as<std::remove_const_t<R>, Recipe>
void for_each_field(R& recipe, Visit&& visit) {
  using F = RecipeField;
  visit(F{"batch", 1, 1 << 16, "sequences of one step"}, recipe.batch);
  visit(F{"seq", 1, 1 << 16, "tokens of one sequence"}, recipe.seq);
  visit(F{"micro_batch", 1, 1 << 16, "sequences of one forward and backward pass"},
        recipe.micro_batch);
  visit(F{"optimizer", 0, 0, "optimizer"}, recipe.optimizer);
  visit(F{"update_scale",
          0,
          0,
          "steps are multiplied by nothing, or by the RMS of the parameter",
          {"none", "parameter"}},
        recipe.update_scale);
  visit(F{"lr", 1e-9, 100, "learning rate, of every group"}, recipe.lr);
  visit(F{"lr_width", 1, 1 << 24, "fan-in at which hidden matrices train with the rate itself"},
        recipe.lr_width);
  visit(F{"schedule", 0, 0, "learning-rate schedule"}, recipe.schedule);
  visit(F{"warmup", 0, 1, "fraction of the budget"}, recipe.warmup);
  visit(F{"decay", 0, 1, "fraction of the budget"}, recipe.decay);
  visit(F{"weight_decay", 0, 10, "decoupled weight decay"}, recipe.weight_decay);
  visit(F{"clip", 0, 1e6, "gradient norm; 0 = off"}, recipe.clip);
  visit(F{"aux", 0, 100, "weight of the load-balance loss of each router"}, recipe.aux);
  visit(F{"z", 0, 100, "weight of the z-loss of each router"}, recipe.z);
  visit(F{"eval_tokens", 1, 1LL << 40, "tokens of the final evaluation"}, recipe.eval_tokens);
  visit(F{"precision", 0, 0, "precision of products", {"auto", "fp32", "bf16"}}, recipe.precision);
}

Json to_json(const Recipe& recipe);
// Missing keys take the defaults above (micro_batch: batch). Cross-field rules (micro_batch |
// batch, warmup + decay <= 1) are checked too. Rates of groups are taken as they stand.
Recipe read_recipe(Reader reader);
// The same of a recipe that a user wrote: a rate of a group that no type declares is a problem, and
// every declared group gets one.
Recipe read_recipe(Reader reader, const LayerTypes& types);
// What an empty document reads as.
Recipe default_recipe(const LayerTypes& types);
// The same of a document that a program stored: Error(BadInput) naming `file`.
Recipe read_recipe(const Json& document, const std::string& file);

// The recipe with the fields in `given`, by key, and the others as they are; one rate for every
// group. Nothing else is changed or checked.
Recipe overlaid(Recipe recipe, const Fields& given);
// The same as a recipe to train by: without a micro-batch of its own it trains whole batches where
// `recipe` does, or where its micro-batch does not divide the new batch. Error(BadInput).
Recipe changed(const Recipe& recipe, const Fields& given);

}  // namespace moebius
